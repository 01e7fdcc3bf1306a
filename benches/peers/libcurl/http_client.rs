//! libcurl's multi interface, driven by its socket and timer callbacks on a level-triggered epoll, as its
//! documentation advises for many transfers.

use std::cell::RefCell;
use std::collections::HashSet;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use curl::easy::{Easy2, Handler, WriteError};
use curl::multi::{Easy2Handle, Events, Multi, Socket, SocketEvents};
use rustix::event::{Timespec, epoll};

use crate::peers::PAGE;
use crate::runner::child::Arguments;
use crate::runner::sample::Stopwatch;

/// The body of one page.
struct Page(Vec<u8>);

impl Handler for Page {
    fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        self.0.extend_from_slice(data);
        Ok(data.len())
    }
}

/// `ADDRESS PAGES IN_FLIGHT KEEP_ALIVE`.
pub fn run(arguments: &Arguments<'_>) {
    let url = format!("http://{}/", arguments.text(0));
    let (pages, in_flight) = (arguments.number(1), arguments.number(2).min(arguments.number(1)));
    let keep_alive = arguments.number(3) == 1;
    let clock = Stopwatch::start();
    let driver = Driver::new(in_flight as usize);
    let mut started = 0;
    let mut transfers: Vec<Option<Easy2Handle<Page>>> = Vec::new();
    for number in 0..in_flight as usize {
        let mut easy = Easy2::new(Page(Vec::with_capacity(2 * PAGE)));
        easy.url(&url).expect("a URL");
        easy.proxy("").expect("no proxy");
        easy.tcp_nodelay(true).expect("nodelay");
        easy.forbid_reuse(!keep_alive).expect("reuse");
        transfers.push(Some(driver.add(easy, number)));
        started += 1;
    }
    let mut done = 0;
    while done < pages {
        driver.turn();
        for number in driver.finished() {
            let handle = transfers[number].take().expect("it was running");
            let mut easy = driver.multi.remove2(handle).expect("remove");
            assert_eq!((easy.response_code().expect("a status"), easy.get_ref().0.len()), (200, PAGE));
            easy.get_mut().0.clear();
            done += 1;
            if started < pages {
                transfers[number] = Some(driver.add(easy, number));
                started += 1;
            }
        }
    }
    clock.stop(pages).report();
}

struct Driver {
    multi: Multi,
    epoll: Arc<OwnedFd>,
    deadline: Arc<Mutex<Option<Instant>>>,
    events: RefCell<Vec<epoll::Event>>,
}

impl Driver {
    fn new(in_flight: usize) -> Driver {
        let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll"));
        let deadline = Arc::new(Mutex::new(None));
        let mut multi = Multi::new();
        multi.set_max_connects(in_flight).expect("as many kept as in flight");
        let (watched, known) = (epoll.clone(), Mutex::new(HashSet::new()));
        let watch =
            move |socket, events, _| watch(&watched, &mut known.lock().expect("one thread"), socket, &events);
        multi.socket_function(watch).expect("socket function");
        let wanted = deadline.clone();
        let set = move |after: Option<Duration>| {
            *wanted.lock().expect("one thread") = after.map(|after| Instant::now() + after);
            true
        };
        multi.timer_function(set).expect("timer function");
        Driver { multi, epoll, deadline, events: RefCell::new(Vec::with_capacity(256)) }
    }

    fn add(&self, easy: Easy2<Page>, number: usize) -> Easy2Handle<Page> {
        let mut handle = self.multi.add2(easy).expect("add");
        handle.set_token(number).expect("a token");
        handle
    }

    fn turn(&self) {
        let deadline = *self.deadline.lock().expect("one thread");
        let rest = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout =
            rest.map(|rest| Timespec { tv_sec: rest.as_secs() as _, tv_nsec: rest.subsec_nanos() as _ });
        let mut events = self.events.borrow_mut();
        events.clear();
        epoll::wait(&*self.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref())
            .expect("wait");
        for event in events.iter() {
            let (flags, mut ready) = (event.flags, Events::new());
            ready.input(flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP));
            ready.output(flags.contains(epoll::EventFlags::OUT));
            ready.error(flags.contains(epoll::EventFlags::ERR));
            self.multi.action(event.data.u64() as Socket, &ready).expect("action");
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            let mut wanted = self.deadline.lock().expect("one thread");
            if *wanted == deadline {
                *wanted = None;
            }
            drop(wanted);
            self.multi.timeout().expect("timeout");
        }
    }

    fn finished(&self) -> Vec<usize> {
        let mut finished = Vec::new();
        self.multi.messages(|message| {
            if let Some(result) = message.result() {
                result.expect("a page");
                finished.push(message.token().expect("a token"));
            }
        });
        finished
    }
}

/// Registers a socket with epoll for the readiness that libcurl requested.
fn watch(epoll: &OwnedFd, known: &mut HashSet<Socket>, socket: Socket, events: &SocketEvents) {
    // SAFETY: libcurl reports a socket while it is open, and requests its removal before closing it.
    let descriptor = unsafe { BorrowedFd::borrow_raw(socket) };
    if events.remove() {
        if known.remove(&socket) {
            let _ = epoll::delete(epoll, descriptor);
        }
        return;
    }
    let mut flags = epoll::EventFlags::empty();
    flags.set(epoll::EventFlags::IN, events.input() || events.input_and_output());
    flags.set(epoll::EventFlags::OUT, events.output() || events.input_and_output());
    let data = epoll::EventData::new_u64(socket as u64);
    if known.insert(socket) {
        epoll::add(epoll, descriptor, data, flags).expect("add");
    } else {
        epoll::modify(epoll, descriptor, data, flags).expect("modify");
    }
}
