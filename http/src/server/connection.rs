//! The protocol of one connection: decodes one request at a time, and keeps pipelined input until its turn.

use std::any::{Any, TypeId};
use std::fmt;
use std::mem;
use std::rc::Rc;

use twistor_deferred::Failure;
use twistor_net::{Address, Protocol, Transport};

use super::exchange::{Exchange, ExchangePhase};
use super::shared::{Membership, SiteState};
use crate::{RequestDecoder, RequestEvent};

/// Answers are gathered up to this size before they are sent.
const GATHERED: usize = 32 * 1024;

/// The size of one read, except of a long body. It is small, because input that has to wait is kept.
const READ_SIZE: usize = 64 * 1024;

/// A connection of a [`Site`](super::Site). Twisted: `HTTPChannel`.
pub struct SiteConnection {
    shared: Rc<SiteState>,
    place: Membership,
    decoder: RequestDecoder,
    /// Input after the request that is being answered, and how much of it has been used.
    kept: Vec<u8>,
    used: usize,
    exchange: Exchange,
    reads_much: bool,
}

impl SiteConnection {
    pub(super) fn new(shared: Rc<SiteState>, peer: Address) -> SiteConnection {
        SiteConnection {
            place: shared.join(),
            decoder: RequestDecoder::new(shared.decoding.clone()),
            kept: Vec::new(),
            used: 0,
            reads_much: false,
            exchange: Exchange::new(shared.clone(), peer),
            shared,
        }
    }

    /// Processes input, and returns the part that has to wait.
    fn process<'i>(&mut self, transport: &Transport, mut input: &'i [u8]) -> &'i [u8] {
        let SiteConnection { exchange, decoder, shared, .. } = self;
        let mut out = shared.out.take();
        loop {
            match exchange.phase {
                ExchangePhase::Lingering | ExchangePhase::Closed => {
                    input = &[];
                    break;
                }
                // The next request waits. The body of this one is read during its answer.
                ExchangePhase::Answering(..) if decoder.is_idle() => break,
                ExchangePhase::Idle if out.len() >= GATHERED => {
                    exchange.flush(transport, &mut out);
                    continue;
                }
                ExchangePhase::Idle if !input.is_empty() && decoder.is_idle() && transport.is_full() => {
                    // The client requests faster than it reads.
                    let transport = transport.clone();
                    drop(transport.clone().drained().add_both(move |_| transport.resume_producing()));
                    break;
                }
                _ => {}
            }
            match decoder.decode(&mut input) {
                Ok(None) => break,
                Ok(Some(RequestEvent::Head(head))) => exchange.on_head(transport, head, input, &mut out),
                Ok(Some(RequestEvent::Body(data))) => exchange.on_body(transport, data, &mut out),
                Ok(Some(RequestEvent::End(_))) => exchange.on_end(transport, input, &mut out),
                Err(error) => {
                    input = &[];
                    exchange.on_error(transport, error, &mut out);
                    break;
                }
            }
        }
        if matches!(exchange.phase, ExchangePhase::Idle) && !decoder.is_idle() {
            exchange.head_begun();
        } else {
            // Frees the buffer of a head that came in pieces: an idle connection has no buffers.
            decoder.release();
        }
        exchange.flush(transport, &mut out);
        shared.put_back(out);
        let much = self.takes_much();
        if much != self.reads_much {
            self.reads_much = much;
            transport.set_read_size(if much { Transport::LARGEST_READ } else { READ_SIZE });
        }
        input
    }

    /// Returns whether large reads are useful: the body is consumed as it arrives, and is so long that no
    /// other request arrives with it.
    fn takes_much(&self) -> bool {
        self.decoder.body_left() >= Transport::LARGEST_READ as u64 && self.exchange.takes_body()
    }

    /// Keeps input that has to wait, and pauses reading until its turn.
    fn keep(&mut self, transport: &Transport, rest: &[u8]) {
        if !rest.is_empty() {
            self.kept.extend_from_slice(rest);
            self.exchange.has_more = true;
            transport.pause_producing();
        }
    }
}

impl Protocol for SiteConnection {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        if !self.shared.arrive(self.place, transport) {
            // The site was stopped during the handshake.
            self.exchange.phase = ExchangePhase::Closed;
            transport.lose_connection();
            return Ok(());
        }
        // A wrapper that hides the exchange would keep late answers from it.
        transport.require_part::<Exchange>();
        self.exchange.begin();
        transport.set_read_size(READ_SIZE);
        // Without it, the second piece of an answer would wait until the client has acknowledged the first.
        let _ = transport.set_nodelay(true);
        Ok(())
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        let rest = self.process(transport, data);
        self.keep(transport, rest);
        Ok(())
    }

    fn reading_resumed(&mut self, transport: &Transport) -> Result<(), Failure> {
        let (kept, used) = (mem::take(&mut self.kept), mem::take(&mut self.used));
        let rest = self.process(transport, &kept[used..]).len();
        if rest > 0 {
            let used = kept.len() - rest;
            // A slow answer after many fast ones must not keep their memory.
            (self.kept, self.used) = if used > rest { (kept[used..].to_vec(), 0) } else { (kept, used) };
            self.exchange.has_more = true;
            transport.pause_producing();
        }
        Ok(())
    }

    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        let fault =
            if matches!(self.exchange.phase, ExchangePhase::Head) { self.decoder.eof().err() } else { None };
        self.exchange.half_closed(transport, fault.map(|error| error.status()));
        Ok(())
    }

    fn write_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.exchange.cannot_write(transport);
        Ok(())
    }

    fn connection_lost(&mut self, _: Failure) {
        self.exchange.give_up();
        self.shared.leave(self.place);
        self.shared.see_whether_drained();
    }

    fn part(&mut self, part: TypeId) -> Option<&mut dyn Any> {
        (part == TypeId::of::<Exchange>()).then_some(&mut self.exchange)
    }
}

impl Drop for SiteConnection {
    fn drop(&mut self) {
        self.shared.leave(self.place);
    }
}

impl fmt::Debug for SiteConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SiteConnection").field("peer", &self.exchange.peer).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::time::Duration;

    use twistor_deferred::{Deferred, Trigger};
    use twistor_net::{Address, Factory, Protocol, Transport};
    use twistor_reactor::Reactor;

    use super::SiteConnection;
    use crate::server::exchange::ExchangePhase;
    use crate::server::{Request, Site};

    fn connect(site: &mut Site) -> SiteConnection {
        let mut connection = site.build_protocol(Address::Ip("192.0.2.1:1024".parse().unwrap())).unwrap();
        connection.connection_made(&Transport::lost()).unwrap();
        connection
    }

    // P5.6: with and without a body, and with trailers
    #[test]
    fn an_idle_connection_has_no_buffers() {
        let reactor = Reactor::simulated(1);
        let mut site = Site::new(&reactor, |request: &mut Request<'_>| request.take_body());
        let post = "POST / HTTP/1.1\r\nHost: here\r\n";
        let requests = [
            "GET / HTTP/1.1\r\nHost: here\r\n\r\n".to_owned(),
            format!("{post}Content-Length: 4\r\n\r\nbody"),
            format!("{post}Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nTrailer: 1\r\n\r\n"),
        ];
        for request in requests {
            let mut connection = connect(&mut site);
            for byte in request.bytes() {
                connection.data_received(&Transport::lost(), &[byte]).unwrap();
            }
            assert!(matches!(connection.exchange.phase, ExchangePhase::Idle), "{request:?}");
            assert_eq!((connection.decoder.memory(), connection.kept.capacity()), (0, 0), "{request:?}");
        }
    }

    // W3.2: only the waiting part of a pipeline is kept
    #[test]
    fn a_slow_answer_does_not_keep_earlier_requests() {
        let reactor = Reactor::simulated(1);
        let waiting: Rc<RefCell<Vec<Trigger<&str>>>> = Rc::default();
        let triggers = waiting.clone();
        let mut site = Site::new(&reactor, move |request: &mut Request<'_>| {
            let (deferred, trigger) = Deferred::new();
            match request.path() {
                "/slow" => triggers.borrow_mut().push(trigger),
                _ => trigger.callback("quick"),
            }
            deferred
        });
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n");
        let pipeline = [get("/slow"), get("/").repeat(1000), get("/slow"), get("/")].concat();
        let lost = Transport::lost();
        let mut connection = connect(&mut site);
        connection.data_received(&lost, pipeline.as_bytes()).unwrap();
        assert_eq!(connection.kept.capacity(), pipeline.len() - get("/slow").len());
        // Stands for the answers, which a lost transport does not return.
        connection.exchange.answered(&lost, 1, Ok("slow".into()));
        connection.reading_resumed(&lost).unwrap();
        assert_eq!((waiting.borrow().len(), connection.kept.capacity()), (2, get("/").len()));
        connection.exchange.answered(&lost, 1002, Ok("slow".into()));
        connection.reading_resumed(&lost).unwrap();
        assert!(matches!(connection.exchange.phase, ExchangePhase::Idle));
        assert_eq!(connection.kept.capacity(), 0);
    }

    // W2.7, W3.2: data after a body would have to be kept
    #[test]
    fn reads_are_large_only_for_a_long_consumed_body() {
        let reactor = Reactor::simulated(1);
        let mut site = Site::new(&reactor, |request: &mut Request<'_>| request.take_body());
        for (framing, much) in [
            ("Content-Length: 262144", true),
            ("Content-Length: 262143", false),
            ("Transfer-Encoding: chunked", false),
        ] {
            let mut connection = connect(&mut site);
            let head = format!("POST / HTTP/1.1\r\nHost: here\r\n{framing}\r\n\r\n");
            connection.data_received(&Transport::lost(), head.as_bytes()).unwrap();
            assert_eq!(connection.takes_much(), much, "{framing}");
            connection.data_received(&Transport::lost(), b"1\r\n").unwrap();
            assert!(!connection.takes_much(), "{framing}");
        }
    }

    /// A handler that never answers.
    fn never(_: &mut Request<'_>) -> Deferred<&'static str> {
        let (deferred, trigger) = Deferred::new();
        std::mem::forget(trigger);
        deferred
    }

    const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\nbody";

    // W5.5: in none of its phases. The rounds are half a second apart.
    #[test]
    fn a_request_sets_no_timer() {
        let reactor = Reactor::simulated(1);
        let mut site = Site::new(&reactor, never);
        let connections: Vec<_> = (0..=POST.len())
            .map(|end| {
                let mut connection = connect(&mut site);
                connection.data_received(&Transport::lost(), &POST[..end]).unwrap();
                connection
            })
            .collect();
        assert!(matches!(connections[POST.len()].exchange.phase, ExchangePhase::Answering(..)));
        reactor.run_until(reactor.spawn(reactor.sleep(Duration::from_secs(20)))).unwrap();
        assert_eq!(reactor.stats().timers, 1 + 20 * 2);
    }

    // W8.3
    #[test]
    fn a_request_is_recorded_only_for_an_observer() {
        let reactor = Reactor::simulated(1);
        for is_observed in [false, true] {
            let mut site = Site::new(&reactor, never);
            if is_observed {
                site = site.on_answered(|_| ());
            }
            let mut connection = connect(&mut site);
            connection.data_received(&Transport::lost(), POST).unwrap();
            assert_eq!(connection.exchange.is_recorded(), is_observed);
        }
    }
}
