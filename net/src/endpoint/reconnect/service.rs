//! The states of a client that reconnects.

use std::cell::{Cell, RefCell};
use std::io;
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use twistor_deferred::{Canceller, Deferred, DeferredEvent, Failure, fail, guarded, succeed};
use twistor_reactor::{DelayedCall, Handle};

use super::waiters::Waiters;
use crate::endpoint::Backoff;
use crate::transport::pass_on;
use crate::{ClientEndpoint, ConnectionAborted, ConnectionLost, HandlerPanicked, Protocol, Transport};

/// The default grace period of a stop.
const DEFAULT_GRACE: Duration = Duration::from_secs(5);

/// Connects once. The protocol reports the loss of that connection to the service.
type ConnectFn = Box<dyn Fn(&Rc<Service>, u64) -> Deferred<Transport>>;

type Prepare = Rc<dyn Fn(&Transport) -> Deferred<()>>;

/// The observer of failures, and the place in the user's code that passed it.
type Tell = (Box<dyn FnMut(&Failure, Duration)>, &'static Location<'static>);

pub(super) struct Service {
    handle: Handle,
    /// The place in the user's code that created the service.
    place: &'static Location<'static>,
    connect: ConnectFn,
    pub(super) backoff: Cell<Backoff>,
    pub(super) grace: Cell<Duration>,
    pub(super) prepare: RefCell<Option<Prepare>>,
    pub(super) failures: Cell<u32>,
    /// Taken out while it runs.
    pub(super) tell: Cell<Option<Tell>>,
    /// The number of the current attempt. Events of an earlier attempt are ignored.
    attempt: Cell<u64>,
    /// A state for each wait, not the place in an async function: `when_connected` fires inside the call that
    /// completes the preparation, and a task would notice later.
    state: RefCell<ServiceState>,
    waiters: Waiters,
    /// Fires at the loss of the connection. The protocol holds it too, because the service may be dropped by
    /// then.
    stopping: DeferredEvent<()>,
}

enum ServiceState {
    /// Never started.
    Idle,
    Stopped,
    /// Waiting for the next attempt. `None` until the delayed call is scheduled, and while it runs.
    Waiting(Option<DelayedCall>),
    Connecting(Option<Canceller>),
    Preparing(Transport, Option<Canceller>),
    /// Preparing failed, and the connection is being aborted.
    Unprepared(Failure),
    Connected(Transport, Instant),
    /// Stopped, with a connection that is not lost yet. `again`: started again meanwhile.
    Closing {
        again: bool,
        abort: Option<DelayedCall>,
    },
}

impl Service {
    pub(super) fn new<P: Protocol>(
        handle: &Handle,
        endpoint: ClientEndpoint,
        build: impl Fn() -> P + 'static,
        place: &'static Location<'static>,
    ) -> Rc<Service> {
        let connect = move |service: &Rc<Service>, attempt| {
            let (stopping, kept_by) = (service.stopping.clone(), Rc::downgrade(service));
            let kept = Kept { protocol: build(), service: kept_by, attempt, stopping };
            endpoint.connect(&service.handle, kept)
        };
        Rc::new(Service {
            handle: handle.clone(),
            place,
            connect: Box::new(connect),
            backoff: Cell::default(),
            grace: Cell::new(DEFAULT_GRACE),
            prepare: RefCell::default(),
            failures: Cell::new(0),
            tell: Cell::default(),
            attempt: Cell::new(0),
            state: RefCell::new(ServiceState::Idle),
            waiters: Waiters::default(),
            stopping: DeferredEvent::new(),
        })
    }

    pub(super) fn state_name(&self) -> &'static str {
        match *self.state.borrow() {
            ServiceState::Idle | ServiceState::Stopped => "stopped",
            ServiceState::Waiting(_) => "waiting",
            ServiceState::Connecting(_) => "connecting",
            ServiceState::Preparing(..) | ServiceState::Unprepared(_) => "preparing",
            ServiceState::Connected(..) => "connected",
            ServiceState::Closing { .. } => "closing",
        }
    }

    pub(super) fn start(self: &Rc<Self>) {
        if let ServiceState::Closing { again, .. } = &mut *self.state.borrow_mut() {
            *again = true;
        }
        if matches!(*self.state.borrow(), ServiceState::Idle | ServiceState::Stopped) {
            self.begin_after(Duration::ZERO);
        }
    }

    #[track_caller]
    pub(super) fn when_connected(&self, most: Option<u32>) -> Deferred<Transport> {
        match &*self.state.borrow() {
            ServiceState::Connected(transport, _) => succeed(transport.clone()),
            ServiceState::Stopped | ServiceState::Closing { again: false, .. } => fail(ConnectionAborted),
            _ => self.waiters.add(most),
        }
    }

    fn begin_after(self: &Rc<Self>, delay: Duration) {
        let attempt = self.attempt.get() + 1;
        self.attempt.set(attempt);
        self.state.replace(ServiceState::Waiting(None));
        let next = Next { service: Rc::downgrade(self), attempt };
        let call = self.handle.call_later(delay, move || next.begin());
        // The call is dropped, and the service stopped, if the reactor is already gone.
        if let ServiceState::Waiting(place) = &mut *self.state.borrow_mut() {
            *place = Some(call);
        }
    }

    fn begin(self: &Rc<Self>, attempt: u64) {
        self.state.replace(ServiceState::Connecting(None));
        // A panic of the program's `build` counts as a failure to connect.
        let connecting = guarded(|| (self.connect)(self, attempt))
            .unwrap_or_else(|message| fail(HandlerPanicked::new("build", message).given_at(self.place)))
            .attributed_to(self.place);
        let gone_on = match &mut *self.state.borrow_mut() {
            ServiceState::Connecting(canceller) if self.attempt.get() == attempt => {
                *canceller = Some(connecting.canceller());
                true
            }
            _ => false,
        };
        if !gone_on {
            // The program's `build` has stopped the service.
            connecting.cancel();
        }
        let service = Rc::downgrade(self);
        drop(connecting.add_both(move |result| {
            if let Some(service) = service.upgrade() {
                match result {
                    Ok(transport) => service.made(attempt, transport),
                    Err(failure) => service.over(attempt, Some(failure)),
                }
            }
        }));
    }

    /// Handles a connection that was made.
    fn made(self: &Rc<Self>, attempt: u64, transport: Transport) {
        let is_connecting = matches!(*self.state.borrow(), ServiceState::Connecting(_));
        if !is_connecting || self.attempt.get() != attempt {
            return;
        }
        let prepare = self.prepare.borrow().clone();
        let Some(prepare) = prepare else { return self.connected(transport) };
        self.state.replace(ServiceState::Preparing(transport.clone(), None));
        let preparing = prepare(&transport);
        if let (ServiceState::Preparing(_, canceller), true) =
            (&mut *self.state.borrow_mut(), self.attempt.get() == attempt)
        {
            *canceller = Some(preparing.canceller());
        }
        let service = Rc::downgrade(self);
        drop(preparing.add_both(move |result| {
            let Some(service) = service.upgrade() else { return };
            let is_preparing = matches!(*service.state.borrow(), ServiceState::Preparing(..));
            if !is_preparing || service.attempt.get() != attempt {
                return;
            }
            match result {
                Ok(()) => service.connected(transport),
                Err(failure) => {
                    service.state.replace(ServiceState::Unprepared(failure));
                    transport.abort_connection();
                }
            }
        }));
    }

    fn connected(&self, transport: Transport) {
        self.state.replace(ServiceState::Connected(transport.clone(), self.handle.now()));
        self.waiters.connected(&transport);
    }

    /// Handles the end of an attempt: it failed, or its connection was lost.
    fn over(self: &Rc<Self>, attempt: u64, failure: Option<Failure>) {
        if self.attempt.get() != attempt {
            return;
        }
        let state = self.state.replace(ServiceState::Stopped);
        match state {
            ServiceState::Connecting(_) => self.retry(failure),
            ServiceState::Preparing(_, canceller) => {
                let lost =
                    || ConnectionLost::new(io::Error::other("lost while it was being prepared")).into();
                self.retry(Some(failure.unwrap_or_else(lost)));
                // Last, because cancelling runs the program's code, which may call the service.
                canceller.inspect(Canceller::cancel);
            }
            ServiceState::Unprepared(failure) => self.retry(Some(failure)),
            ServiceState::Connected(_, since) => {
                let coming = self.backoff.get().delay(self.failures.get().saturating_add(1), 0.5);
                if self.handle.now().saturating_duration_since(since) >= coming {
                    self.failures.set(0);
                }
                self.retry(None);
            }
            ServiceState::Closing { again, abort } => {
                if let Some(call) = abort {
                    let _ = call.cancel();
                }
                if again {
                    self.begin_after(Duration::ZERO);
                    tell_stopped(&self.stopping);
                } else {
                    self.stopped();
                }
            }
            other @ (ServiceState::Idle | ServiceState::Stopped | ServiceState::Waiting(_)) => {
                drop(self.state.replace(other))
            }
        }
    }

    /// Schedules the next attempt, and reports the failure of the last one.
    fn retry(self: &Rc<Self>, failure: Option<Failure>) {
        if !self.handle.is_running() {
            // The run is ending, so no timer would ring.
            return self.stopped();
        }
        let failures = self.failures.get().saturating_add(1);
        self.failures.set(failures);
        let wait = self.backoff.get().random_delay(&self.handle, failures);
        self.begin_after(wait);
        let Some(failure) = failure else { return };
        if let Some((mut tell, place)) = self.tell.take() {
            match guarded(|| tell(&failure, wait)) {
                Ok(()) => self.tell.set(Some((tell, place))),
                Err(message) => {
                    log::error!("{}", HandlerPanicked::new("on_failure", message).given_at(place));
                }
            }
        }
        self.waiters.failed(failure);
    }

    pub(super) fn stop(self: &Rc<Self>) -> Deferred<()> {
        let state = self.state.replace(ServiceState::Closing { again: false, abort: None });
        match state {
            ServiceState::Idle | ServiceState::Stopped => {}
            ServiceState::Waiting(call) => drop(call.map(|call| call.cancel())),
            ServiceState::Connecting(canceller) => {
                self.attempt.set(self.attempt.get() + 1);
                canceller.inspect(Canceller::cancel);
            }
            ServiceState::Preparing(transport, canceller) => {
                let closed = self.close(Some(&transport), None);
                canceller.inspect(Canceller::cancel);
                return closed;
            }
            ServiceState::Connected(transport, _) => return self.close(Some(&transport), None),
            ServiceState::Unprepared(_) => return self.close(None, None),
            ServiceState::Closing { abort, .. } => return self.close(None, abort),
        }
        self.stopped();
        succeed(())
    }

    /// Waits for the loss of a connection. Closes it if `transport` is given; otherwise it is closing
    /// already.
    fn close(&self, transport: Option<&Transport>, mut abort: Option<DelayedCall>) -> Deferred<()> {
        let deferred = self.stopping.wait();
        if let Some(transport) = transport {
            transport.lose_connection();
            let transport = transport.clone();
            abort = Some(self.handle.call_later(self.grace.get(), move || transport.abort_connection()));
        }
        self.state.replace(ServiceState::Closing { again: false, abort });
        self.waiters.stopped();
        deferred
    }

    fn stopped(&self) {
        self.state.replace(ServiceState::Stopped);
        // Ignores later events of the last attempt.
        self.attempt.set(self.attempt.get() + 1);
        self.failures.set(0);
        self.waiters.stopped();
        tell_stopped(&self.stopping);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        match self.state.replace(ServiceState::Stopped) {
            ServiceState::Connecting(Some(canceller)) | ServiceState::Preparing(_, Some(canceller)) => {
                canceller.cancel()
            }
            ServiceState::Waiting(Some(call)) => drop(call.cancel()),
            _ => {}
        }
        self.waiters.stopped();
    }
}

/// Fires the current waiters of a stop. Later callers wait for the next stop.
fn tell_stopped(stopping: &DeferredEvent<()>) {
    stopping.fire(());
    stopping.reset();
}

/// The next attempt. If the end of the run drops it before it begins, the service is stopped.
struct Next {
    service: Weak<Service>,
    attempt: u64,
}

impl Next {
    fn begin(self) {
        if let Some(service) = self.service.upgrade() {
            if self.is_due(&service) {
                service.begin(self.attempt);
            }
        }
    }

    fn is_due(&self, service: &Service) -> bool {
        service.attempt.get() == self.attempt && matches!(*service.state.borrow(), ServiceState::Waiting(_))
    }
}

impl Drop for Next {
    fn drop(&mut self) {
        if let Some(service) = self.service.upgrade() {
            if self.is_due(&service) {
                service.stopped();
            }
        }
    }
}

/// Wraps the program's protocol, and reports its loss to the service.
struct Kept<P> {
    protocol: P,
    service: Weak<Service>,
    attempt: u64,
    stopping: DeferredEvent<()>,
}

impl<P: Protocol> Protocol for Kept<P> {
    pass_on!(self, self.protocol => connection_made data_received reading_resumed read_connection_lost
        write_connection_lost part unread);

    fn connection_lost(&mut self, reason: Failure) {
        let told = guarded(|| self.protocol.connection_lost(reason));
        match self.service.upgrade() {
            Some(service) => service.over(self.attempt, None),
            None => tell_stopped(&self.stopping),
        }
        if let Err(message) = told {
            log::error!(
                "while a connection was being lost, {}",
                HandlerPanicked::new("connection_lost", message)
            );
        }
    }
}
