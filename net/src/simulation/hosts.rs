//! Hosts that crash and restart. Each runs its program on a separate reactor, which a crash drops.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::IpAddr;
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use twistor_reactor::{Clock, DelayedCall, Handle, Phase, Reactor, ScheduledCall};

use super::network::Network;

/// A host of a simulated [`World`](super::World), added with [`World::host`](super::World::host): a program that runs on
/// its own reactor, at one address, and can crash and restart.
#[derive(Clone)]
pub struct SimulatedHost(Weak<HostState>);

impl SimulatedHost {
    /// Crashes the host, as a loss of power does. Does nothing if it is down.
    ///
    /// Everything that belongs to its program is dropped: its reactor with all timers, tasks and Deferreds, its
    /// connections and its listeners. Nothing more is sent, not even an end of stream, and data in flight from the host is
    /// lost. Peers notice nothing. Data and requests to the host wait, as if TCP sent them again, until it restarts.
    ///
    /// May be called by the host's own program. The program is then dropped after the callback has returned.
    pub fn crash(&self) {
        if let Some(host) = self.0.upgrade() {
            host.crash();
        }
    }

    /// Restarts the host after a [`crash`](SimulatedHost::crash), and runs its program again from the beginning. Does
    /// nothing if it is up.
    ///
    /// Data and ends of streams for connections from before the crash are answered with a reset. Connections that were
    /// requested meanwhile reach the new program.
    pub fn restart(&self) {
        if let Some(host) = self.0.upgrade() {
            host.restart();
        }
    }

    /// Returns whether the host is up. It is up until it crashes, even if its program has stopped its reactor.
    pub fn is_up(&self) -> bool {
        self.0.upgrade().is_some_and(|host| host.is_up.get())
    }
}

impl fmt::Debug for SimulatedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.0.upgrade().map(|host| host.address);
        f.debug_struct("SimulatedHost").field("address", &address).field("up", &self.is_up()).finish()
    }
}

pub(super) struct HostState {
    network: Rc<Network>,
    pub(super) address: IpAddr,
    program: Rc<dyn Fn(&Handle)>,
    /// The place that added the host.
    place: &'static Location<'static>,
    is_up: Cell<bool>,
    /// It crashed in a turn that is under way.
    crashed_in_turn: Cell<bool>,
    reactor: RefCell<Option<Rc<Reactor>>>,
    /// A trigger of the world's next start continues the program: the end of a run drops the alarm.
    continues: Cell<bool>,
    /// The next turn of the reactor, as a timer of the world.
    alarm: Cell<Option<DelayedCall>>,
}

impl HostState {
    #[track_caller]
    pub(super) fn start(
        network: Rc<Network>,
        address: IpAddr,
        program: Rc<dyn Fn(&Handle)>,
    ) -> Rc<HostState> {
        let (crashed_in_turn, reactor, continues, alarm) = Default::default();
        let (is_up, place) = (Cell::new(true), Location::caller());
        let host = Rc::new(HostState {
            network,
            address,
            program,
            place,
            is_up,
            crashed_in_turn,
            reactor,
            continues,
            alarm,
        });
        host.boot();
        host
    }

    pub(super) fn public(self: &Rc<Self>) -> SimulatedHost {
        SimulatedHost(Rc::downgrade(self))
    }

    fn boot(self: &Rc<Self>) {
        let (world, address) = (self.network.handle(), self.address);
        let remote = world.remote();
        let called = Arc::new(AtomicBool::new(false));
        // The hook has to be `Send`, so it finds the host again by its address.
        let hook = move || {
            if !called.swap(true, Ordering::Relaxed) {
                let call = Call(called.clone());
                let _ = remote.call_from_thread(move |world| {
                    drop(call);
                    if let Some(host) = Network::of(world).and_then(|network| network.host(address)) {
                        host.turn();
                    }
                });
            }
        };
        let Some(reactor) = Reactor::of_simulated_host(world, address, hook) else { return };
        let (program, handle) = (self.program.clone(), reactor.handle());
        reactor.schedule(Duration::ZERO, ScheduledCall::at(self.place, move || program(&handle)));
        self.reactor.replace(Some(Rc::new(reactor)));
        self.set_alarm(Duration::ZERO);
        self.continue_in_next_run();
    }

    fn continue_in_next_run(self: &Rc<Self>) {
        if !self.continues.replace(true) {
            let host = Rc::downgrade(self);
            self.network.handle().on_startup(Phase::After, move || {
                if let Some(host) = host.upgrade() {
                    host.continues.set(false);
                    host.set_alarm(Duration::ZERO);
                }
            });
        }
    }

    fn set_alarm(self: &Rc<Self>, delay: Duration) {
        let host = Rc::downgrade(self);
        let alarm = self.network.later(delay, move || {
            if let Some(host) = host.upgrade() {
                host.turn();
            }
        });
        self.stop_alarm();
        self.alarm.set(Some(alarm));
    }

    fn stop_alarm(&self) {
        if let Some(before) = self.alarm.take() {
            let _ = before.cancel();
        }
    }

    /// Takes a turn for the program.
    fn turn(self: &Rc<Self>) {
        let Some(reactor) = self.reactor.borrow().clone() else { return };
        self.continue_in_next_run();
        let goes_on = reactor.turn(Some(Duration::ZERO));
        if self.crashed_in_turn.take() {
            drop(reactor);
            self.lose_power();
            if self.is_up.get() {
                self.boot_again();
            }
            return;
        }
        match goes_on {
            Ok(true) => match reactor.next_deadline() {
                Some(deadline) => self.set_alarm(deadline.saturating_duration_since(reactor.now())),
                None => self.stop_alarm(),
            },
            // The program has ended. Its connections are closed as usual.
            _ => {
                self.stop_alarm();
                drop((self.reactor.take(), reactor));
            }
        }
    }

    pub(super) fn crash(&self) -> bool {
        let was_up = self.is_up.replace(false);
        if was_up {
            let address = self.address;
            self.network.handle().mark(|| format!("{address} crashes"));
            self.network.set_down(address, true);
            let in_turn = self.reactor.borrow().as_ref().is_some_and(|reactor| reactor.is_in_turn());
            self.crashed_in_turn.set(in_turn);
            if !in_turn {
                self.lose_power();
            }
        }
        was_up
    }

    fn lose_power(&self) {
        self.stop_alarm();
        let reactor = self.reactor.take();
        let before = self.network.losing_power.replace(Some(self.address));
        drop(reactor);
        self.network.losing_power.set(before);
    }

    pub(super) fn restart(self: &Rc<Self>) {
        if !self.is_up.replace(true) && !self.crashed_in_turn.get() {
            self.boot_again();
        }
    }

    fn boot_again(self: &Rc<Self>) {
        let address = self.address;
        self.network.handle().mark(|| format!("{address} restarts"));
        self.network.set_down(address, false);
        self.network.go_on();
        self.boot();
    }
}

/// A call for a turn that is on its way, or that the end of a run drops.
struct Call(Arc<AtomicBool>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
