//! tokio's two ways: closures through an unbounded channel to a task that runs them, and a task spawned for each
//! call.

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::runtime::current_thread;
use crate::peers::remote_plan::{self, count, done};
use crate::runner::child::Arguments;
use crate::runner::sample::Stopwatch;

type Call = Box<dyn FnOnce() + Send>;

pub fn flood(arguments: &Arguments<'_>) {
    let calls = arguments.number(0);
    let (sender, receiver) = mpsc::unbounded_channel::<Call>();
    let clock = Stopwatch::start();
    let other = remote_plan::flood(calls, move || assert!(sender.send(Box::new(count)).is_ok()));
    run_calls(receiver);
    other.join().expect("the other thread");
    clock.stop(calls).report();
}

pub fn ping(arguments: &Arguments<'_>) {
    let calls = arguments.number(0);
    let (sender, receiver) = mpsc::unbounded_channel::<Call>();
    let clock = Stopwatch::start();
    let other = remote_plan::ping(calls, move |answer| {
        let call = move || {
            count();
            answer.send(()).expect("the other thread waits");
        };
        assert!(sender.send(Box::new(call)).is_ok());
    });
    run_calls(receiver);
    other.join().expect("the other thread");
    clock.stop(calls).report();
}

/// Ends when the other thread has finished and dropped the sender.
fn run_calls(mut receiver: mpsc::UnboundedReceiver<Call>) {
    current_thread().block_on(async {
        while let Some(call) = receiver.recv().await {
            call();
        }
    });
}

pub fn spawn_flood(arguments: &Arguments<'_>) {
    let calls = arguments.number(0);
    let runtime = current_thread();
    let clock = Stopwatch::start();
    let (over, all) = oneshot::channel();
    let over = Over { handle: runtime.handle().clone(), sender: Some(over) };
    let other = remote_plan::flood(calls, move || {
        over.handle.spawn(async { count() });
    });
    runtime.block_on(all).expect("the last task");
    assert_eq!(done(), calls);
    other.join().expect("the other thread");
    clock.stop(calls).report();
}

pub fn spawn_ping(arguments: &Arguments<'_>) {
    let calls = arguments.number(0);
    let runtime = current_thread();
    let clock = Stopwatch::start();
    let (over, all) = oneshot::channel();
    let over = Over { handle: runtime.handle().clone(), sender: Some(over) };
    let other = remote_plan::ping(calls, move |answer| {
        over.handle.spawn(async move {
            count();
            answer.send(()).expect("the other thread waits");
        });
    });
    runtime.block_on(all).expect("the last task");
    assert_eq!(done(), calls);
    other.join().expect("the other thread");
    clock.stop(calls).report();
}

/// The other thread's handle to the runtime. When the thread has finished, a last task, after all others, ends the
/// run.
struct Over {
    handle: Handle,
    sender: Option<oneshot::Sender<()>>,
}

impl Drop for Over {
    fn drop(&mut self) {
        let sender = self.sender.take();
        self.handle.spawn(async move { sender.map(|sender| sender.send(())) });
    }
}
