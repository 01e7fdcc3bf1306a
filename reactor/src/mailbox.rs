//! The wake-up protocol: any thread puts messages into a queue, and one thread, the loop, fetches them.
//!
//! Both sides share one word. Every step on it is a single atomic operation, so all threads agree on the order of
//! these steps:
//!
//! - A sender pushes its message, then sets `PENDING`. If only `ASLEEP` was set before, this sender wakes the loop.
//!   If `PENDING` was also set, an earlier sender woke the loop, or the loop has yet to check the word before it
//!   waits.
//! - The loop clears the word, then takes the messages. A message pushed after that sets `PENDING` again.
//! - At the end of a turn the loop sets `ASLEEP`. It waits only if it then finds `PENDING` clear.
//!
//! So a call into a turn that is under way costs no system call. The test below runs these functions through all
//! interleavings.

/// A message may be in the queue.
const PENDING: u8 = 1;
/// The loop will not check the queue unless it is woken, or finds `PENDING` before it waits.
const ASLEEP: u8 = 2;

/// The word of a loop that has not taken a turn.
pub(crate) const INITIAL: u8 = ASLEEP;

/// The queue and the word. An implementation provides the steps, each of them atomic, and this trait their order.
pub(crate) trait Mailbox {
    type Message;
    /// The place that receives the messages.
    type Inbox<'a>;

    fn load(&self) -> u8;
    /// Replaces the word, and returns the old one.
    fn swap(&self, word: u8) -> u8;
    /// Sets bits of the word, and returns the old one.
    fn set(&self, bits: u8) -> u8;
    /// Appends a message, or returns it if the queue is closed.
    fn push(&self, message: Self::Message) -> Result<(), Self::Message>;
    /// Moves all messages into the inbox.
    fn take(&self, inbox: Self::Inbox<'_>);
    /// Ends the loop's wait. If the loop does not wait, ends its next wait.
    fn wake(&self);

    fn put(&self, message: Self::Message) -> Result<(), Self::Message> {
        self.push(message)?;
        if self.set(PENDING) == ASLEEP {
            self.wake();
        }
        Ok(())
    }

    /// Returns whether a fetch would find a message.
    fn is_pending(&self) -> bool {
        self.load() & PENDING != 0
    }

    /// Fetches the messages, at the beginning of a turn or during it.
    fn fetch(&self, inbox: Self::Inbox<'_>) {
        if self.swap(0) & PENDING != 0 {
            self.take(inbox);
        }
    }

    fn end_turn(&self) {
        self.set(ASLEEP);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::HashSet;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    use super::*;

    /// The state that the threads share.
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct World {
        word: u8,
        queue: Vec<u8>,
        closed: bool,
        /// Like an eventfd: a wake-up lasts until a wait finds it.
        woken: bool,
        /// The number of wake-ups, counted up to two.
        wakes: u8,
    }

    /// The result of a step for the thread that made it.
    type Answer = Vec<u8>;

    /// A point in a run: the shared state, and the answers that each thread has received, which determine where it
    /// is.
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct ModelState {
        world: World,
        seen: Vec<Vec<Answer>>,
        finished: Vec<bool>,
    }

    /// The panic payload that ends a thread's run, because it would make a second step or has to wait.
    struct Pause;

    /// One thread's view. Each time, a thread runs from its beginning: earlier steps return their recorded answers,
    /// the next step is made, and the one after that unwinds.
    struct View<'a> {
        world: RefCell<World>,
        seen: RefCell<Vec<Answer>>,
        replayed: Cell<usize>,
        stepped: Cell<bool>,
        protocol: &'a ModelProtocol,
    }

    impl View<'_> {
        fn step(&self, step: impl FnOnce(&mut World) -> Option<Answer>) -> Answer {
            let at = self.replayed.get();
            if let Some(answer) = self.seen.borrow().get(at) {
                self.replayed.set(at + 1);
                return answer.clone();
            }
            if self.stepped.get() {
                resume_unwind(Box::new(Pause));
            }
            let answer = step(&mut self.world.borrow_mut());
            let Some(answer) = answer else { resume_unwind(Box::new(Pause)) };
            self.stepped.set(true);
            self.seen.borrow_mut().push(answer.clone());
            self.replayed.set(at + 1);
            answer
        }

        /// The wait of the selector.
        fn wait(&self, block: bool) {
            self.step(|world| {
                let over = world.woken || !block;
                world.woken = false;
                over.then(Answer::new)
            });
        }

        /// Returns the thread's local state at its last checkpoint.
        fn kept(&self) -> Vec<u8> {
            self.replayed.set(1);
            let mut seen = self.seen.borrow_mut();
            if seen.is_empty() {
                seen.push(Answer::new());
            }
            seen[0].clone()
        }

        /// Replaces the thread's history with its local state. A loop begins again here.
        fn checkpoint(&self, kept: &[u8]) {
            self.seen.replace(vec![kept.to_vec()]);
            resume_unwind(Box::new(Pause));
        }

        fn close(&self) -> Vec<u8> {
            self.step(|world| {
                world.closed = true;
                Some(std::mem::take(&mut world.queue))
            })
        }
    }

    impl Mailbox for View<'_> {
        type Message = u8;
        type Inbox<'a> = &'a mut Vec<u8>;

        fn load(&self) -> u8 {
            self.step(|world| Some(vec![world.word]))[0]
        }

        fn swap(&self, word: u8) -> u8 {
            self.step(|world| Some(vec![std::mem::replace(&mut world.word, word)]))[0]
        }

        fn set(&self, bits: u8) -> u8 {
            self.step(|world| {
                let old = world.word;
                world.word |= bits;
                Some(vec![old])
            })[0]
        }

        fn push(&self, message: u8) -> Result<(), u8> {
            let pushed = self.step(|world| {
                if !world.closed {
                    world.queue.push(message);
                }
                Some(vec![u8::from(!world.closed)])
            });
            if pushed == [1] { Ok(()) } else { Err(message) }
        }

        fn take(&self, inbox: &mut Vec<u8>) {
            inbox.extend(self.step(|world| Some(std::mem::take(&mut world.queue))));
        }

        fn wake(&self) {
            self.step(|world| {
                world.woken = true;
                world.wakes = (world.wakes + 1).min(2);
                Some(Answer::new())
            });
        }
    }

    /// The functions under test: those of the trait, or broken ones.
    struct ModelProtocol {
        put: fn(&View<'_>, u8) -> Result<(), u8>,
        fetch: fn(&View<'_>, &mut Vec<u8>),
        end_turn: fn(&View<'_>),
    }

    const REAL: ModelProtocol = ModelProtocol {
        put: |view, message| view.put(message),
        fetch: |view, inbox| view.fetch(inbox),
        end_turn: |view| view.end_turn(),
    };

    type Thread = fn(&View<'_>);

    /// Explores every interleaving of the threads. Returns the number of states, or the first state in which every
    /// unfinished thread waits forever.
    fn explore(
        threads: &[Thread],
        protocol: &ModelProtocol,
        finally: fn(&ModelState),
    ) -> Result<usize, ModelState> {
        let world = World { word: INITIAL, queue: Vec::new(), closed: false, woken: false, wakes: 0 };
        let start =
            ModelState { world, seen: vec![Vec::new(); threads.len()], finished: vec![false; threads.len()] };
        let (mut known, mut open) = (HashSet::from([start.clone()]), vec![start]);
        while let Some(state) = open.pop() {
            let next: Vec<_> =
                (0..threads.len()).filter_map(|at| advance(&state, at, threads[at], protocol)).collect();
            match state.finished.iter().all(|finished| *finished) {
                true => finally(&state),
                false if next.is_empty() => return Err(state),
                false => {}
            }
            open.extend(next.into_iter().filter(|next| known.insert(next.clone())));
        }
        Ok(known.len())
    }

    /// Makes one step of one thread. Returns `None` if the thread has finished or waits.
    fn advance(
        state: &ModelState,
        at: usize,
        thread: Thread,
        protocol: &ModelProtocol,
    ) -> Option<ModelState> {
        if state.finished[at] {
            return None;
        }
        let view = View {
            world: RefCell::new(state.world.clone()),
            seen: RefCell::new(state.seen[at].clone()),
            replayed: Cell::new(0),
            stepped: Cell::new(false),
            protocol,
        };
        let finished = match catch_unwind(AssertUnwindSafe(|| thread(&view))) {
            Ok(()) => true,
            Err(payload) if payload.is::<Pause>() => false,
            Err(payload) => resume_unwind(payload),
        };
        (finished || view.stepped.get()).then(|| {
            let mut next = ModelState { world: view.world.into_inner(), ..state.clone() };
            next.seen[at] = view.seen.take();
            next.finished[at] = finished;
            next
        })
    }

    /// Takes turns, as `Core::turn` does, until the messages of both senders have arrived.
    fn reactor(view: &View<'_>) {
        let mut inbox = view.kept();
        while inbox.len() < 3 {
            turn(view, &mut inbox);
            view.checkpoint(&inbox);
        }
        inbox.retain(|message| *message != 20);
        assert_eq!(inbox, [10, 11]);
    }

    fn turn(view: &View<'_>, inbox: &mut Vec<u8>) {
        let work = view.is_pending();
        view.wait(!work);
        (view.protocol.fetch)(view, inbox);
        // Before the tasks run.
        if view.is_pending() {
            (view.protocol.fetch)(view, inbox);
        }
        (view.protocol.end_turn)(view);
    }

    const END: u8 = 0;

    /// Takes one turn, and ends the reactor.
    fn ending(view: &View<'_>) {
        let mut inbox = view.kept();
        if inbox.last() != Some(&END) {
            turn(view, &mut inbox);
            inbox.extend(view.close());
            inbox.push(END);
            view.checkpoint(&inbox);
        }
    }

    /// Sends messages, and records which were accepted.
    fn send(view: &View<'_>, messages: &[u8]) {
        let mut sent = view.kept();
        while let Some(&message) = messages.get(sent.len()) {
            sent.push(u8::from((view.protocol.put)(view, message).is_ok()));
            view.checkpoint(&sent);
        }
    }

    fn ten(view: &View<'_>) {
        send(view, &[10, 11]);
    }

    fn twenty(view: &View<'_>) {
        send(view, &[20]);
    }

    #[test]
    fn no_interleaving_loses_a_wake_up() {
        // R1.2
        let states = explore(&[reactor, ten, twenty], &REAL, |_| ()).unwrap();
        assert!(states > 1000, "{states}");
    }

    #[test]
    fn every_message_is_fetched_refused_or_returned() {
        // R1.3
        explore(&[ending, ten, twenty], &REAL, |state| {
            let [inbox, ten, twenty] = [0, 1, 2].map(|thread| &state.seen[thread][0]);
            let accepted = ten.iter().chain(twenty).filter(|sent| **sent == 1).count();
            assert_eq!(inbox.len() - 1, accepted, "{state:?}");
        })
        .unwrap();
    }

    #[test]
    fn a_broken_protocol_loses_a_wake_up() {
        fn announce_first(view: &View<'_>, message: u8) -> Result<(), u8> {
            if view.set(PENDING) == ASLEEP {
                view.wake();
            }
            view.push(message)
        }
        fn look_first(view: &View<'_>, message: u8) -> Result<(), u8> {
            view.push(message)?;
            let old = view.load();
            view.set(PENDING);
            if old == ASLEEP {
                view.wake();
            }
            Ok(())
        }
        fn take_first(view: &View<'_>, inbox: &mut Vec<u8>) {
            view.take(inbox);
            view.swap(0);
        }
        fn forget_pending(view: &View<'_>) {
            view.swap(ASLEEP);
        }
        let broken = [
            ModelProtocol { put: announce_first, ..REAL },
            ModelProtocol { put: look_first, ..REAL },
            ModelProtocol { fetch: take_first, ..REAL },
            ModelProtocol { end_turn: forget_pending, ..REAL },
            ModelProtocol { end_turn: |_| (), ..REAL },
        ];
        for (case, protocol) in broken.iter().enumerate() {
            assert!(explore(&[reactor, ten, twenty], protocol, |_| ()).is_err(), "case {case}");
        }
    }

    #[test]
    fn a_message_in_a_turn_wakes_nothing() {
        // R1.2
        fn alone(view: &View<'_>) {
            let mut inbox = Vec::new();
            view.fetch(&mut inbox);
            assert!(view.put(1).is_ok() && view.put(2).is_ok());
            view.fetch(&mut inbox);
            assert_eq!(inbox, [1, 2]);
        }
        explore(&[alone], &REAL, |state| assert_eq!(state.world.wakes, 0)).unwrap();
        fn outside(view: &View<'_>) {
            assert!(view.put(1).is_ok() && view.put(2).is_ok());
        }
        explore(&[outside], &REAL, |state| assert_eq!(state.world.wakes, 1)).unwrap();
    }
}
