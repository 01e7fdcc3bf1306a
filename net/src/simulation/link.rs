//! One simulated connection: two ends, and the data in flight between them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::time::Duration;

use twistor_reactor::{DelayedCall, Ready, SourceWaker};

use super::NetworkEventKind;
use super::faults::Fault;
use super::network::Network;
use crate::Address;

/// How long a client requests a connection without an answer before it gives up. This is Linux's value.
const GIVE_UP: Duration = Duration::from_secs(127);

/// How long a client waits before it requests a connection again from a listener with a full queue.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The maximum number of parts into which one write is split.
const MOST_PARTS: u64 = 4;

/// Faults happen within this time from the start of a connection.
const FAULTS_WITHIN: Duration = Duration::from_secs(1);

/// The longest time for which a fault cuts hosts off from each other, or keeps one down.
const LONGEST_CUT: Duration = Duration::from_secs(60);

pub(super) struct Link {
    network: Weak<Network>,
    /// The client's end, and the server's end.
    pub(super) ends: [End; 2],
    /// The number of unread bytes that each end accepts.
    window: usize,
    /// The connection waits to be accepted, or is accepted.
    arrived: Cell<bool>,
    /// A partition holds up the request.
    call_held: Cell<bool>,
    silent: Cell<bool>,
    give_up: Cell<Option<DelayedCall>>,
}

pub(super) struct End {
    pub(super) address: Address,
    state: RefCell<EndState>,
}

/// The state of one end, and the data in flight to it.
#[derive(Default)]
struct EndState {
    waker: Option<SourceWaker>,
    incoming: VecDeque<u8>,
    on_the_way: VecDeque<Segment>,
    /// The number of bytes in flight. Together with the incoming bytes they fill the window.
    flying: usize,
    /// When the last segment in flight arrives. No later one arrives sooner.
    last_arrival: Duration,
    /// The number of arrivals held up.
    held: usize,
    established: bool,
    /// The peer has ended its half.
    ended: bool,
    error: Option<io::ErrorKind>,
    /// The connection was reset.
    dead: bool,
    /// This end has ended its half.
    shut: bool,
    /// A write found too little room.
    starved: bool,
    /// The socket of this end is closed.
    closed: bool,
    /// The host of this end lost power: nothing was sent for the closed socket.
    vanished: bool,
}

enum Segment {
    Established,
    Refused,
    Data(Vec<u8>),
    End,
    Reset,
}

impl Link {
    pub(super) fn new(network: &Rc<Network>, source: Address, target: Address) -> Rc<Link> {
        let rules = network.rules();
        let (least, most) = rules.window;
        let window = least + network.below((most - least) as u64 + 1) as usize;
        let end = |address| End { address, state: RefCell::default() };
        Rc::new(Link {
            network: Rc::downgrade(network),
            ends: [end(source), end(target)],
            window,
            arrived: Cell::new(false),
            call_held: Cell::new(false),
            silent: Cell::new(false),
            give_up: Cell::new(None),
        })
    }

    pub(super) fn has_end_at(&self, host: IpAddr) -> bool {
        self.ends.iter().any(|end| end.address.ip().is_some_and(|address| address.ip() == host))
    }

    fn tell(&self, network: &Network, to: usize, kind: NetworkEventKind) {
        network.tell(&self.ends[1 - to].address, &self.ends[to].address, kind);
    }

    /// Requests the connection.
    pub(super) fn call(self: &Rc<Self>) {
        let Some(network) = self.network.upgrade() else { return };
        self.tell(&network, 1, NetworkEventKind::Connecting);
        let link = Rc::downgrade(self);
        let give_up = network.later(GIVE_UP, move || {
            if let Some(link) = link.upgrade() {
                link.fail(0, io::ErrorKind::TimedOut);
            }
        });
        self.give_up.set(Some(give_up));
        self.call_after(&network, network.latency());
    }

    fn call_after(self: &Rc<Self>, network: &Network, delay: Duration) {
        let link = self.clone();
        network.later(delay, move || link.called());
    }

    fn called(self: &Rc<Self>) {
        let Some(network) = self.network.upgrade() else { return };
        {
            let caller = self.ends[0].state.borrow();
            if caller.closed || caller.dead {
                return;
            }
        }
        if network.is_cut(&self.ends[0].address, &self.ends[1].address) {
            self.tell(&network, 1, NetworkEventKind::Held);
            self.call_held.set(true);
            return;
        }
        let Some(listener) = network.listener(&self.ends[1].address) else {
            return self.send(0, Segment::Refused);
        };
        if !listener.has_room() {
            return self.call_after(&network, ASK_AGAIN);
        }
        self.arrived.set(true);
        self.tell(&network, 1, NetworkEventKind::Arrived);
        self.ends[1].state.borrow_mut().established = true;
        listener.push(self.clone());
        self.send(0, Segment::Established);
        self.plan_faults(&network);
    }

    /// Draws the faults of the connection.
    fn plan_faults(self: &Rc<Self>, network: &Network) {
        let rules = network.rules();
        if network.chance(rules.resets) {
            self.sometime(network, Fault::Reset, Link::reset);
        }
        if network.chance(rules.silences) {
            self.sometime(network, Fault::Silence, Link::silence);
        }
        if network.chance(rules.partitions) {
            self.sometime(network, Fault::Partition, Link::cut_off);
        }
        if network.chance(rules.crashes) {
            self.sometime(network, Fault::Crash, Link::crash_host);
        }
    }

    fn sometime(self: &Rc<Self>, network: &Network, fault: Fault, occur: fn(&Rc<Link>) -> bool) {
        // Each order of magnitude is equally likely, so that faults hit every stage of a connection.
        let scale = FAULTS_WITHIN.as_nanos() as u64 >> network.below(14);
        let link = Rc::downgrade(self);
        network.later(Duration::from_nanos(network.below(scale)), move || {
            if let Some(link) = link.upgrade() {
                if let (true, Some(network)) = (occur(&link), link.network.upgrade()) {
                    network.faults.count(fault);
                }
            }
        });
    }

    /// Sends a segment to one end.
    fn send(self: &Rc<Self>, to: usize, segment: Segment) {
        let Some(network) = self.network.upgrade() else { return };
        let now = network.now();
        let arrival = {
            let mut end = self.ends[to].state.borrow_mut();
            let arrival = (now + network.latency()).max(end.last_arrival);
            end.last_arrival = arrival;
            end.on_the_way.push_back(segment);
            arrival
        };
        let link = self.clone();
        network.later(arrival - now, move || link.arrive(to));
    }

    /// Delivers the next segment to one end.
    fn arrive(self: &Rc<Self>, to: usize) {
        let Some(network) = self.network.upgrade() else { return };
        if self.silent.get() || network.is_cut(&self.ends[0].address, &self.ends[1].address) {
            self.ends[to].state.borrow_mut().held += 1;
            return self.tell(&network, to, NetworkEventKind::Held);
        }
        let mut end = self.ends[to].state.borrow_mut();
        let Some(segment) = end.on_the_way.pop_front() else { return };
        if let Segment::Data(data) = &segment {
            end.flying -= data.len();
        }
        if end.dead {
            return;
        }
        let (kind, ready) = match segment {
            Segment::Data(data) => {
                if end.closed {
                    drop(end);
                    return self.send(1 - to, Segment::Reset);
                }
                end.incoming.extend(&data);
                (NetworkEventKind::Data(data.len()), Ready::READABLE)
            }
            Segment::End if end.vanished => {
                drop(end);
                return self.send(1 - to, Segment::Reset);
            }
            Segment::End => {
                end.ended = true;
                (NetworkEventKind::End, Ready::READABLE | Ready::READ_CLOSED)
            }
            Segment::Established => {
                end.established = true;
                (NetworkEventKind::Connected, Ready::WRITABLE)
            }
            Segment::Refused | Segment::Reset => {
                drop(end);
                let (error, kind) = match segment {
                    Segment::Refused => (io::ErrorKind::ConnectionRefused, NetworkEventKind::Refused),
                    _ => (io::ErrorKind::ConnectionReset, NetworkEventKind::Reset),
                };
                self.tell(&network, to, kind);
                return self.fail(to, error);
            }
        };
        let waker = end.waker.clone();
        drop(end);
        if to == 0 && matches!(kind, NetworkEventKind::Connected) {
            self.stop_asking();
        }
        self.tell(&network, to, kind);
        if let Some(waker) = waker {
            waker.wake(ready);
        }
    }

    /// Continues after a partition was healed, if the link was held up by it.
    pub(super) fn go_on(self: &Rc<Self>) {
        let Some(network) = self.network.upgrade() else { return };
        if self.silent.get() || network.is_cut(&self.ends[0].address, &self.ends[1].address) {
            return;
        }
        if self.call_held.take() {
            self.call_after(&network, network.latency());
        }
        for to in 0..2 {
            let held = std::mem::take(&mut self.ends[to].state.borrow_mut().held);
            for _ in 0..held {
                let link = self.clone();
                network.later(network.latency(), move || link.arrive(to));
            }
        }
    }

    /// Ends the connection for one end.
    fn fail(&self, to: usize, error: io::ErrorKind) {
        let waker = {
            let mut end = self.ends[to].state.borrow_mut();
            if end.dead || (error == io::ErrorKind::TimedOut && end.established) {
                return;
            }
            end.dead = true;
            end.error = Some(error);
            end.waker.clone()
        };
        if to == 0 {
            self.stop_asking();
        }
        if let Some(waker) = waker {
            waker.wake(broken());
        }
    }

    fn stop_asking(&self) {
        if let Some(call) = self.give_up.take() {
            let _ = call.cancel();
        }
    }

    /// Resets both ends now. Returns whether there was a connection.
    pub(super) fn reset(self: &Rc<Self>) -> bool {
        let Some(network) = self.network.upgrade() else { return false };
        if !self.is_connection() {
            return false;
        }
        for to in 0..2 {
            let (open, established) = {
                let end = self.ends[to].state.borrow();
                (!end.dead && !end.closed, end.established)
            };
            if open && established {
                self.tell(&network, to, NetworkEventKind::Reset);
                self.fail(to, io::ErrorKind::ConnectionReset);
            } else if open {
                // Sent as a segment, so that it arrives after the confirmation that is in flight.
                self.send(to, Segment::Reset);
            }
        }
        true
    }

    /// Returns whether at least one end is connected.
    fn is_connection(&self) -> bool {
        self.ends.iter().any(|end| {
            let end = end.state.borrow();
            end.established && !end.dead && !end.closed
        })
    }

    /// Loses all data from now on. Returns whether there was a connection that was not silent yet.
    pub(super) fn silence(self: &Rc<Self>) -> bool {
        self.is_connection() && !self.silent.replace(true)
    }
}

impl Link {
    /// Cuts the hosts of this connection off from each other for a while. Returns whether they are two.
    fn cut_off(self: &Rc<Self>) -> bool {
        let Some(network) = self.network.upgrade() else { return false };
        let [Some(one), Some(other)] = [0, 1].map(|end| self.ends[end].address.ip()) else { return false };
        let (one, other) = (one.ip(), other.ip());
        if one == other {
            return false;
        }
        network.cut(one, Some(other));
        let healed = Rc::downgrade(&network);
        network.later(outage(&network), move || {
            if let Some(network) = healed.upgrade() {
                network.heal(one, Some(other));
            }
        });
        true
    }

    /// Crashes the host of the listener, or else of the client, and restarts it after a while. Returns whether one of
    /// them was a host that was up.
    fn crash_host(self: &Rc<Self>) -> bool {
        let Some(network) = self.network.upgrade() else { return false };
        let mut addresses = [1, 0].into_iter().filter_map(|end: usize| self.ends[end].address.ip());
        let Some(host) = addresses.find_map(|address| network.host(address.ip())) else { return false };
        if !host.crash() {
            return false;
        }
        let host = Rc::downgrade(&host);
        network.later(outage(&network), move || {
            if let Some(host) = host.upgrade() {
                host.restart();
            }
        });
        true
    }
}

/// The operations of a socket at one end.
impl Link {
    /// Sets the waker. Wakes it at once if the end is ready.
    pub(super) fn watch(&self, side: usize, waker: SourceWaker) {
        let mut ready = Ready::NONE;
        {
            let mut end = self.ends[side].state.borrow_mut();
            if end.established && self.room(side) > 0 {
                ready |= Ready::WRITABLE;
            }
            if !end.incoming.is_empty() {
                ready |= Ready::READABLE;
            }
            if end.ended {
                ready |= Ready::READABLE | Ready::READ_CLOSED;
            }
            if end.dead {
                ready = broken();
            }
            end.waker = Some(waker.clone());
        }
        if !ready.is_none() {
            waker.wake(ready);
        }
    }

    /// Returns the number of bytes that this side can write.
    fn room(&self, side: usize) -> usize {
        let peer = self.ends[1 - side].state.borrow();
        self.window.saturating_sub(peer.flying + peer.incoming.len())
    }

    pub(super) fn read(&self, side: usize, buffer: &mut [u8]) -> io::Result<usize> {
        let count = {
            let mut end = self.ends[side].state.borrow_mut();
            if end.incoming.is_empty() {
                // As in the operating system, a reset after the peer's end of stream hides no data.
                let ended = end.ended;
                return match end.error.take_if(|_| !ended) {
                    Some(error) => Err(error.into()),
                    None if !end.established && !end.dead => Err(io::ErrorKind::NotConnected.into()),
                    None if end.ended || end.dead => Ok(0),
                    None => Err(io::ErrorKind::WouldBlock.into()),
                };
            }
            let count = end.incoming.len().min(buffer.len());
            let (first, second) = end.incoming.as_slices();
            let head = first.len().min(count);
            buffer[..head].copy_from_slice(&first[..head]);
            buffer[head..count].copy_from_slice(&second[..count - head]);
            end.incoming.drain(..count);
            count
        };
        let starved = {
            let mut peer = self.ends[1 - side].state.borrow_mut();
            if count > 0 && std::mem::take(&mut peer.starved) { peer.waker.clone() } else { None }
        };
        if let Some(waker) = starved {
            waker.wake(Ready::WRITABLE);
        }
        Ok(count)
    }

    pub(super) fn write(self: &Rc<Self>, side: usize, data: &[u8]) -> io::Result<usize> {
        let Some(network) = self.network.upgrade() else { return Err(io::ErrorKind::NotConnected.into()) };
        let room = self.room(side);
        {
            let mut end = self.ends[side].state.borrow_mut();
            if let Some(error) = end.error.take() {
                return Err(error.into());
            }
            if end.dead || end.shut {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            if data.is_empty() {
                return Ok(0);
            }
            end.starved = room < data.len();
            if !end.established || room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        let (mut data, _) = data.split_at(room.min(data.len()));
        let taken = data.len();
        self.ends[1 - side].state.borrow_mut().flying += taken;
        let mut cuts = if network.rules().splitting { network.below(MOST_PARTS) } else { 0 };
        while !data.is_empty() {
            let length = if cuts > 0 { 1 + network.below(data.len() as u64) as usize } else { data.len() };
            cuts = cuts.saturating_sub(1);
            let (part, rest) = data.split_at(length);
            self.send(1 - side, Segment::Data(part.to_vec()));
            data = rest;
        }
        Ok(taken)
    }

    pub(super) fn shutdown_write(self: &Rc<Self>, side: usize) -> io::Result<()> {
        {
            let mut end = self.ends[side].state.borrow_mut();
            if !end.established || end.dead {
                return Err(io::ErrorKind::NotConnected.into());
            }
            if std::mem::replace(&mut end.shut, true) {
                return Ok(());
            }
        }
        self.send(1 - side, Segment::End);
        Ok(())
    }

    pub(super) fn take_error(&self, side: usize) -> Option<io::Error> {
        self.ends[side].state.borrow_mut().error.take().map(io::Error::from)
    }

    pub(super) fn has_incoming(&self, side: usize) -> bool {
        !self.ends[side].state.borrow().incoming.is_empty()
    }

    pub(super) fn is_established(&self, side: usize) -> bool {
        let end = self.ends[side].state.borrow();
        end.established && !end.dead
    }

    /// Removes the socket of one end, whose host has lost power. Nothing that this end has sent, and that has not arrived
    /// yet, is sent again.
    pub(super) fn vanish(self: &Rc<Self>, side: usize) {
        self.stop_asking();
        let is_connecting = {
            let mut peer = self.ends[1 - side].state.borrow_mut();
            peer.on_the_way.clear();
            peer.flying = 0;
            !peer.established && !peer.dead && !peer.closed
        };
        let mut end = self.ends[side].state.borrow_mut();
        if side == 1 && is_connecting {
            // The client asks again after the host has restarted.
            *end = EndState { last_arrival: end.last_arrival, ..EndState::default() };
            self.arrived.set(false);
            self.call_held.set(true);
            return;
        }
        (end.waker, end.incoming) = (None, VecDeque::new());
        (end.closed, end.vanished) = (true, true);
    }

    /// Closes the socket of one end.
    pub(super) fn close(self: &Rc<Self>, side: usize, reset: bool) {
        self.stop_asking();
        let last = {
            let mut end = self.ends[side].state.borrow_mut();
            end.closed = true;
            end.waker = None;
            // As in the operating system, closing a socket with unread data resets the connection.
            let reset = reset || !end.incoming.is_empty();
            end.incoming = VecDeque::new();
            let silent = end.dead || !self.arrived.get();
            match (silent, reset) {
                (true, _) => None,
                (false, true) => {
                    end.dead = true;
                    Some(Segment::Reset)
                }
                (false, false) if end.shut => None,
                (false, false) => {
                    end.shut = true;
                    Some(Segment::End)
                }
            }
        };
        if let Some(segment) = last {
            self.send(1 - side, segment);
        }
    }
}

/// Draws how long a host is cut off or down. Each order of magnitude is equally likely.
fn outage(network: &Network) -> Duration {
    let longest = LONGEST_CUT.as_nanos() as u64 >> network.below(14);
    Duration::from_nanos(network.below(longest))
}

/// Returns the readiness of an end after a reset.
fn broken() -> Ready {
    Ready::READABLE | Ready::WRITABLE | Ready::READ_CLOSED | Ready::WRITE_CLOSED | Ready::ERROR
}
