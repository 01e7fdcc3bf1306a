//! The other thread of the remote calls, the same for all peers. It sends closures, boxed if the peer needs a
//! single type.

use std::cell::Cell;
use std::sync::mpsc;
use std::thread::JoinHandle;

use crate::runner::child::{Core, pin_thread};

thread_local! {
    static DONE: Cell<u64> = const { Cell::new(0) };
}

/// The work of every call on the loop's thread.
pub fn count() {
    DONE.set(DONE.get() + 1);
}

/// Returns the number of calls that this thread has run.
pub fn done() -> u64 {
    DONE.get()
}

/// Sends `calls` closures as fast as it can. Each must run [`count`] and nothing else.
pub fn flood(calls: u64, mut send: impl FnMut() + Send + 'static) -> JoinHandle<()> {
    pin_thread(Core::Measured);
    std::thread::spawn(move || {
        pin_thread(Core::Load);
        for _ in 0..calls {
            send();
        }
    })
}

/// Sends `calls` closures, each after the previous one has answered. Each must run [`count`] and send on the channel.
pub fn ping(calls: u64, mut send: impl FnMut(mpsc::Sender<()>) + Send + 'static) -> JoinHandle<()> {
    pin_thread(Core::Measured);
    std::thread::spawn(move || {
        pin_thread(Core::Load);
        let (answer, answers) = mpsc::channel();
        for _ in 0..calls {
            send(answer.clone());
            answers.recv().expect("an answer");
        }
    })
}
