//! Every event in every state of a connection: the table of P27, read from BEHAVIOUR.md.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::Deferred;
use twistor_net::{
    ClientEndpoint, ConnectionAborted, ConnectionDone, ConnectionLost, ConnectionReleased, Failure, Protocol,
    Stream, Transport,
};
use twistor_reactor::{Handle, defer_later};

use crate::support::{address, listen_once, with_seeds};

const SECOND: Duration = Duration::from_secs(1);

/// The number of columns without the names of the states.
const EVENTS: usize = 11;

/// The events of one end, in words. Adjacent equal ones are joined, because data can be split anywhere.
#[derive(Clone, Default)]
struct Notes(Rc<RefCell<Vec<&'static str>>>);

impl Notes {
    fn add(&self, word: &'static str) {
        let mut words = self.0.borrow_mut();
        if words.last() != Some(&word) {
            words.push(word);
        }
    }

    fn has(&self, word: &str) -> bool {
        self.0.borrow().contains(&word)
    }
}

/// A protocol that notes its calls, and stays when the peer ends its half.
struct Noting {
    notes: Notes,
    transport: Rc<RefCell<Transport>>,
    losses: Rc<Cell<usize>>,
}

impl Protocol for Noting {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.transport.replace(transport.clone());
        Ok(())
    }

    fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
        self.notes.add("delivered");
        Ok(())
    }

    fn reading_resumed(&mut self, _: &Transport) -> Result<(), Failure> {
        self.notes.add("resumed");
        Ok(())
    }

    fn read_connection_lost(&mut self, _: &Transport) -> Result<(), Failure> {
        self.notes.add("end");
        Ok(())
    }

    fn write_connection_lost(&mut self, _: &Transport) -> Result<(), Failure> {
        self.notes.add("broken");
        Ok(())
    }

    fn connection_lost(&mut self, reason: Failure) {
        self.losses.set(self.losses.get() + 1);
        self.notes.add(if reason.is::<ConnectionDone>() {
            "lost: done"
        } else if reason.is::<ConnectionLost>() {
            "lost: reset"
        } else if reason.is::<ConnectionAborted>() {
            "lost: aborted"
        } else if reason.is::<ConnectionReleased>() {
            "lost: released"
        } else {
            "lost: failed"
        });
    }
}

/// One end of a connection.
struct End {
    notes: Notes,
    transport: Rc<RefCell<Transport>>,
    losses: Rc<Cell<usize>>,
}

impl End {
    fn new() -> (Noting, End) {
        let end = End {
            notes: Notes::default(),
            transport: Rc::new(RefCell::new(Transport::lost())),
            losses: Rc::default(),
        };
        let (notes, transport, losses) = (end.notes.clone(), end.transport.clone(), end.losses.clone());
        (Noting { notes, transport, losses }, end)
    }

    fn transport(&self) -> Transport {
        self.transport.borrow().clone()
    }
}

/// The connection of one cell: the end that is in the state, its peer, and the stream that a release returns.
struct Pair {
    near: End,
    far: End,
    stream: RefCell<Option<Stream>>,
}

impl Pair {
    async fn connect(handle: &Handle) -> Result<Pair, Failure> {
        let ((near_protocol, near), (far_protocol, far)) = (End::new(), End::new());
        let port = address(&listen_once(handle, near_protocol)).port();
        ClientEndpoint::tcp("127.0.0.1", port).connect(handle, far_protocol).await?;
        Ok(Pair { near, far, stream: RefCell::default() })
    }

    /// Brings the near end into a state.
    async fn enter(&self, handle: &Handle, state: &str) -> Result<(), Failure> {
        let (near, far) = (self.near.transport(), self.far.transport());
        match state {
            "open" => {}
            "paused" => near.pause_producing(),
            "peer ended" => far.lose_write_connection(),
            "half-closed" => near.lose_write_connection(),
            "closing" => {
                far.pause_producing();
                near.write(&[0; 140_000]);
                near.lose_connection();
            }
            "lingering" => near.lose_connection_lingering(),
            "broken" => {
                near.pause_producing();
                far.write(b"unread");
                after(handle, SECOND).await?;
                far.abort_connection();
            }
            #[cfg(feature = "tls")]
            "securing" => {
                near.start_tls("peer.test", client_tls()).add_errback(|_| Ok(())).detach();
            }
            "released" => drop(self.stream.replace(near.release().ok())),
            "lost" => near.abort_connection(),
            other => panic!("unknown state {other:?}"),
        }
        after(handle, SECOND).await
    }

    /// Causes the event. Returns its immediate outcome.
    fn act(&self, event: &str) -> Option<&'static str> {
        let (near, far) = (self.near.transport(), self.far.transport());
        match event {
            "data" => return if far.write(b"hello") { None } else { Some("–") },
            // A peer that cannot write any more has nothing to end.
            "end" if !far.write(b"") => return Some("–"),
            "end" => far.lose_write_connection(),
            "reset" => far.abort_connection(),
            "write" => return if near.write(b"x") { None } else { Some("refused") },
            "half-close" => near.lose_write_connection(),
            "close" => near.lose_connection(),
            "abort" => near.abort_connection(),
            "release" => match near.release() {
                Ok(stream) => drop(self.stream.replace(Some(stream))),
                Err(_) => return Some("refused"),
            },
            "pause" => near.pause_producing(),
            "resume" => near.resume_producing(),
            "minute" => {}
            other => panic!("unknown event {other:?}"),
        }
        None
    }
}

async fn after(handle: &Handle, delay: Duration) -> Result<(), Failure> {
    defer_later(handle, delay, || Ok(())).await
}

/// Returns settings that are created once, because a new key takes milliseconds.
#[cfg(feature = "tls")]
fn client_tls() -> &'static twistor_net::tls::ClientTls {
    static TLS: std::sync::OnceLock<twistor_net::tls::ClientTls> = std::sync::OnceLock::new();
    TLS.get_or_init(|| crate::tls_support::Authority::new().client())
}

/// Returns the content of one cell: the observations of the near end within a second after the event.
async fn observe(handle: Handle, state: String, event: String) -> Result<String, Failure> {
    let pair = Pair::connect(&handle).await?;
    let (near, far) = (&pair.near, &pair.far);
    pair.enter(&handle, &state).await?;
    near.notes.0.borrow_mut().clear();
    far.notes.0.borrow_mut().clear();

    let returned = pair.act(&event);
    after(&handle, if event == "minute" { 60 * SECOND } else { SECOND }).await?;
    let mut words = near.notes.0.borrow().clone();
    words.extend(returned);
    match &*event {
        "write" if returned.is_none() => {
            words.push(if far.notes.has("delivered") { "sent" } else { "waits" });
        }
        "half-close" if far.notes.has("end") => words.push("sent"),
        "data" | "end" if words.is_empty() => {
            near.transport().resume_producing();
            after(&handle, SECOND).await?;
            let word = if event == "data" { "delivered" } else { "end" };
            words.push(if near.notes.has(word) { "waits" } else { "ignored" });
        }
        _ => {}
    }

    // Each connection ends, and once.
    drop(pair.stream.take());
    near.transport().abort_connection();
    far.transport().abort_connection();
    after(&handle, SECOND).await?;
    assert_eq!((near.losses.get(), far.losses.get()), (1, 1), "{event} in the state {state}");
    Ok(if words.is_empty() { "–".to_owned() } else { words.join(", ") })
}

/// Returns the rows of the table, in cells.
fn table() -> Vec<Vec<String>> {
    let text = include_str!("../../BEHAVIOUR.md");
    let (_, section) = text.split_once("27. **States of a connection.**").unwrap();
    let rows = section.lines().map(str::trim).filter(|line| line.starts_with('|') && !line.contains("---"));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

// P27.1, P27.2, P2.6
#[test]
fn each_event_in_each_state_has_the_outcome_of_the_table() {
    let table = table();
    let (events, states) = table.split_first().unwrap();
    assert!(states.len() >= 10 && table.iter().all(|row| row.len() == 1 + EVENTS), "{table:?}");
    let states: Vec<_> =
        states.iter().filter(|row| cfg!(feature = "tls") || row[0] != "securing").cloned().collect();
    with_seeds(|reactor| {
        let cells = states.iter().map(|row| {
            let observed: Vec<Deferred<String>> = events[1..]
                .iter()
                .map(|event| reactor.spawn(observe(reactor.handle(), row[0].clone(), event.clone())))
                .collect();
            let row = row.clone();
            twistor_deferred::gather_results(observed)
                .add_callback(move |observed| Ok([vec![row[0].clone()], observed].concat()))
        });
        let expected = states.clone();
        twistor_deferred::gather_results(cells.collect::<Vec<_>>()).add_callback(move |observed| {
            let print = |rows: &[Vec<String>]| {
                rows.iter().map(|row| format!("| {} |\n", row.join(" | "))).collect::<String>()
            };
            assert_eq!(print(&observed), print(&expected), "\n{}", print(&observed));
            Ok(())
        })
    });
}
