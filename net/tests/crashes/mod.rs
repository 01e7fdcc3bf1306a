//! Hosts that crash and restart. P9.6 to P9.9.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::Abandoned;
use twistor_net::simulation::{Fault, SimulatedHost, World, explore, try_explore};
use twistor_net::{
    Address, ClientEndpoint, ConnectRefused, ConnectTimedOut, ConnectionLost, Failure, ServerEndpoint,
    Transport, UdpEndpoint,
};
use twistor_reactor::{AddTimeout, Handle, LoopingCall};

use super::support::*;
use super::{CLIENT, Mail, SERVER, after, ip, network, place, serve, server};

const SECOND: Duration = Duration::from_secs(1);

/// Adds a host that echoes.
fn echo_host(world: &World) -> SimulatedHost {
    world.host(ip(SERVER), |handle| _ = serve(handle, |_| Echo))
}

/// Runs the world for this long.
#[track_caller]
fn wait(world: &World, delay: Duration) {
    world.run_until(after(world, delay)).unwrap();
}

/// Connects to the server, and returns the client's diary.
async fn connect(handle: &Handle) -> Result<(Diary, Transport), Failure> {
    let diary = Diary::new();
    let transport = server().connect(handle, scripted(&diary)).await?;
    Ok((diary, transport))
}

/// Runs a task in the world of each seed.
#[track_caller]
fn in_worlds<F: Future<Output = Result<(), Failure>> + 'static>(
    seeds: std::ops::Range<u64>,
    task: impl Fn(&World, Handle) -> F,
) {
    explore(seeds, |world| world.run_until(world.spawn(task(world, world.handle()))));
}

#[test]
fn peers_of_a_crashed_host_notice_nothing_until_they_send() {
    // P9.6
    in_worlds(seeds(), |world, handle| {
        let host = echo_host(world);
        async move {
            let (idle, _kept) = connect(&handle).await?;
            let (sending, transport) = connect(&handle).await?;
            host.crash();
            assert!(!host.is_up());
            handle.sleep(600 * SECOND).await?;
            transport.write(b"anybody there?");
            handle.sleep(600 * SECOND).await?;
            assert_eq!([idle.losses(), sending.losses()], [0; 2]);
            host.restart();
            assert!(host.is_up());
            handle.sleep(SECOND).await?;
            // Only the data is answered, with a reset.
            assert_eq!([idle.losses(), sending.losses()], [0, 1]);
            assert!(sending.reason().to_string().contains("reset"));
            Ok(())
        }
    });
}

#[test]
fn an_end_of_stream_after_a_crash_is_answered_with_a_reset() {
    // P9.6
    in_worlds(seeds(), |world, handle| {
        let host = echo_host(world);
        async move {
            let (diary, transport) = connect(&handle).await?;
            host.crash();
            host.restart();
            transport.lose_write_connection();
            handle.sleep(SECOND).await?;
            let reason = diary.reason();
            assert!(reason.is::<ConnectionLost>() && reason.to_string().contains("reset"), "{reason}");
            Ok(())
        }
    });
}

#[test]
fn nothing_that_a_crashed_host_has_sent_arrives() {
    // P9.6
    in_worlds(seeds(), |world, handle| {
        let greets = |_| {
            scripted(&Diary::new()).on_made(|transport| {
                transport.write(b"hello");
                Ok(())
            })
        };
        let host = world.host(ip(SERVER), move |handle: &Handle| _ = serve(handle, greets));
        world.network().set_latency(SECOND, SECOND);
        // The greeting is on its way.
        let crash = host.clone();
        world.call_later(SECOND * 3 / 2, move || crash.crash());
        async move {
            // The confirmation is on its way as well, so the new program accepts the connection.
            let back = host.clone();
            handle.call_later(10 * SECOND, move || back.restart());
            let start = handle.now();
            let (diary, _kept) = connect(&handle).await?;
            assert!(handle.now() - start > 10 * SECOND);
            handle.sleep(10 * SECOND).await?;
            assert_eq!(diary.entries(), ["made", "data hello"]);
            host.crash();
            handle.sleep(10 * SECOND).await?;
            assert_eq!(diary.entries().len(), 2);
            Ok(())
        }
    });
}

#[test]
fn a_crash_drops_the_program_and_a_restart_runs_it_again() {
    // P9.7
    explore(seeds(), |world| {
        let (starts, ticks, abandoned) =
            (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let owned = Rc::new(());
        let (counts, captured) = ((starts.clone(), ticks.clone(), abandoned.clone()), owned.clone());
        let host = world.host(ip(SERVER), move |handle: &Handle| {
            let (starts, ticks, abandoned) = counts.clone();
            starts.set(starts.get() + 1);
            let alive = captured.clone();
            let tick = LoopingCall::new(handle, move || {
                let _ = &alive;
                ticks.set(ticks.get() + 1);
            });
            tick.start(SECOND)
                .add_errback(move |failure: Failure| {
                    failure.trap::<Abandoned>()?;
                    abandoned.set(abandoned.get() + 1);
                    Ok(())
                })
                .detach();
            let (alive, again) = (captured.clone(), handle.clone());
            handle
                .spawn(async move {
                    while again.sleep(SECOND).await.is_ok() {
                        let _ = &alive;
                    }
                })
                .detach();
        });
        wait(world, 10 * SECOND);
        let before = ticks.get();
        assert!((10..=11).contains(&before), "{before} ticks");
        host.crash();
        host.crash();
        // The test and the program itself, which runs again.
        assert_eq!(Rc::strong_count(&owned), 2);
        wait(world, 10 * SECOND);
        assert_eq!((starts.get(), ticks.get(), abandoned.get()), (1, before, 1));
        host.restart();
        host.restart();
        wait(world, 10 * SECOND);
        assert_eq!(starts.get(), 2);
        assert!((before + 10..=before + 11).contains(&ticks.get()));
        // The program goes on in the next run.
        wait(world, 10 * SECOND);
        assert!((before + 20..=before + 22).contains(&ticks.get()));
        Ok::<(), Failure>(())
    });
}

#[test]
fn a_request_waits_for_a_crashed_host_or_times_out() {
    // P9.6
    in_worlds(seeds(), |world, handle| {
        let host = echo_host(world);
        // Crashes before, during and after the handshake.
        let (crash, restart) = (host.clone(), host.clone());
        world.call_later(Duration::from_micros(300 * world.seed()), move || crash.crash());
        world.call_later(60 * SECOND, move || restart.restart());
        let back = world.now() + 60 * SECOND;
        async move {
            let diary = Diary::new();
            let client = ClientEndpoint::tcp(SERVER, 80).timeout(200 * SECOND);
            let _kept = client.connect(&handle, scripted(&diary)).await?;
            assert!(handle.now() >= back || diary.entries() == ["made"], "{:?}", diary.entries());
            handle.sleep(61 * SECOND).await?;
            host.crash();
            let refused = client.connect(&handle, scripted(&Diary::new())).await.unwrap_err();
            assert!(refused.is::<ConnectTimedOut>(), "{refused:?}");
            Ok(())
        }
    });
}

#[test]
fn a_host_may_crash_and_restart_itself() {
    // P9.7
    explore(0..5, |world| {
        let (starts, own) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(None::<SimulatedHost>)));
        let (count, me) = (starts.clone(), own.clone());
        let host = world.host(ip(SERVER), move |handle: &Handle| {
            count.set(count.get() + 1);
            let port = serve(handle, |_| Echo);
            if let Some(host) = me.borrow().as_ref().filter(|_| count.get() < 3) {
                host.crash();
                assert!(!host.is_up() && port.address().port().is_some());
                host.restart();
                // Runs only if the crash did not drop it.
                let count = count.clone();
                handle.call_later(SECOND, move || count.set(100));
            }
        });
        own.replace(Some(host));
        wait(world, 5 * SECOND);
        assert_eq!(starts.get(), 3);
        let handle = world.handle();
        world.run_until(world.spawn(async move { connect(&handle).await.map(drop) }))
    });
}

#[test]
fn a_host_has_its_own_address_and_ends_with_its_program() {
    // P9.8
    in_worlds(0..5, |world, handle| {
        let (peers, mail) = (Rc::new(RefCell::new(Vec::new())), Mail::default());
        let heard = peers.clone();
        serve(world, move |peer: Address| {
            heard.borrow_mut().push(peer.ip().unwrap().ip());
            Echo
        });
        UdpEndpoint::new(place("192.0.2.80:53")).listen(world, mail.clone()).unwrap();
        let (theirs, lost) = (Diary::new(), Diary::new());
        let diary = theirs.clone();
        let host = world.host(ip("192.0.2.7"), move |handle: &Handle| {
            assert!(network(handle).fault_counts().get(Fault::Crash) == 0);
            let udp = UdpEndpoint::new(place("0.0.0.0:0")).listen(handle, Mail::default()).unwrap();
            udp.send_to(b"hello", place("192.0.2.80:53")).unwrap();
            let (any, diary) = ("0.0.0.0:7".parse().unwrap(), diary.clone());
            ServerEndpoint::tcp(any).listen(handle, move |_| scripted(&diary)).unwrap();
            let again = handle.clone();
            server()
                .connect(handle, Echo)
                .add_callback(move |_| {
                    let stops = again.clone();
                    again.call_later(10 * SECOND, move || stops.stop());
                })
                .detach();
        });
        async move {
            handle.sleep(SECOND).await?;
            assert_eq!(*peers.borrow(), [ip("192.0.2.7")]);
            server().connect(&handle, Echo).await?;
            assert_eq!(peers.borrow()[1], ip(CLIENT));
            assert_eq!(mail.0.borrow().len(), 1);
            let _kept = ClientEndpoint::tcp("192.0.2.7", 7).connect(&handle, scripted(&lost)).await?;
            handle.sleep(20 * SECOND).await?;
            assert_eq!((theirs.losses(), lost.losses(), host.is_up()), (1, 1, true));
            let refused = ClientEndpoint::tcp("192.0.2.7", 7).connect(&handle, Echo).await.unwrap_err();
            assert!(refused.is::<ConnectRefused>(), "{refused}");
            Ok(())
        }
    });
}

/// A client asks a host twenty times, and again if the host crashes meanwhile. Returns the trace.
fn survive(world: &World) -> Result<Vec<String>, Failure> {
    let events: Rc<RefCell<Vec<String>>> = Rc::default();
    let told = events.clone();
    world.network().set_observer(move |event| told.borrow_mut().push(event.to_string()));
    world.faults().crashes(0.3);
    let _host = echo_host(world);
    let handle = world.handle();
    world.run_until(world.spawn(async move {
        for _ in 0..20 {
            loop {
                let inside = handle.clone();
                let asked = handle.spawn(async move {
                    let talk = server().timeout(5 * SECOND).converse(&inside).await?;
                    talk.write(b"ping\r\n");
                    talk.read_line(100).await
                });
                match asked.add_timeout(5 * SECOND, &handle).await {
                    Ok(line) => break assert_eq!(line, b"ping"),
                    Err(_) => handle.sleep(SECOND).await?,
                }
            }
        }
        Ok(())
    }))?;
    Ok(events.take())
}

#[test]
fn crashes_are_drawn_from_the_seed() {
    // P9.9
    let explored = try_explore(seeds(), |world| survive(world).map(drop)).unwrap();
    assert!(explored.faults().get(Fault::Crash) > 0);
    assert!(explored.to_string().contains("crash"), "{explored}");
    let traces = || {
        let all = RefCell::new(Vec::new());
        explore(0..5, |world| survive(world).map(|trace| all.borrow_mut().push(trace)));
        all.into_inner()
    };
    assert_eq!(traces(), traces());
}

#[test]
fn a_time_limit_holds_in_later_runs() {
    let failed = try_explore(0..1, |world| {
        world.set_time_limit(5 * SECOND);
        wait(world, SECOND);
        let (never, _trigger) = twistor_deferred::Deferred::<()>::new();
        assert!(world.run_until(never).is_err());
    });
    assert!(failed.unwrap_err().reason().contains("not done after 5s of simulated time"));
}

#[test]
fn a_panic_of_a_host_fails_its_seed_and_others_go_on() {
    let failed = try_explore(0..3, |world| {
        world
            .host(ip(SERVER), |_: &Handle| -> Result<(), Failure> { Err(Failure::new("a bug of the host")) });
        wait(world, SECOND);
    });
    let failed = failed.unwrap_err();
    assert!(failed.seed() == 0 && failed.reason().contains("a bug of the host"), "{failed}");
}

/// Records an echo server that crashes and restarts, and its client, on separate hosts.
#[cfg(feature = "trace")]
fn recorded(keep: usize) -> twistor_reactor::trace::Recording {
    let recordings = RefCell::new(Vec::new());
    explore(0..1, |world| {
        let recording = world.record().keep(keep);
        let host = echo_host(world);
        world.host(ip("192.0.2.7"), |handle: &Handle| {
            let inside = handle.clone();
            let asking = handle.spawn(async move {
                let talk = server().timeout(SECOND).converse(&inside).await?;
                talk.write(b"ping\r\n");
                talk.read_line(100).await
            });
            asking.named("answer").detach();
        });
        wait(world, SECOND);
        host.crash();
        host.restart();
        wait(world, SECOND);
        recordings.borrow_mut().push(recording);
    });
    recordings.take().remove(0)
}

// R20.3, R20.10
#[cfg(feature = "trace")]
#[test]
fn a_recorded_seed_has_the_turns_of_each_host() {
    use twistor_reactor::trace::{CallbackKind, Happening};

    let recording = recorded(usize::MAX);
    let entries = recording.entries();
    for (host, kinds) in [
        (Some(ip(SERVER)), &[CallbackKind::Source, CallbackKind::Timer][..]),
        (Some(ip("192.0.2.7")), &[CallbackKind::Source, CallbackKind::Timer, CallbackKind::Task]),
        (None, &[]),
    ] {
        let count = |wanted: &dyn Fn(&Happening) -> bool| {
            entries.iter().filter(|entry| entry.host == host && wanted(&entry.what)).count()
        };
        for kind in kinds {
            let began = count(&|what| matches!(what, Happening::Began { kind: k, .. } if k == kind));
            assert!(began > 0, "no {kind} of {host:?} in\n{recording}");
        }
        let turns = count(&|what| matches!(what, Happening::TurnBegan { .. }));
        assert!(turns > 2, "{turns} turns of {host:?} in\n{recording}");
        assert_eq!(turns, count(&|what| matches!(what, Happening::TurnEnded)));
        assert_eq!(
            count(&|what| matches!(what, Happening::Began { .. })),
            count(&|what| matches!(what, Happening::Ended))
        );
    }
    let text = recording.to_string();
    for line in [
        "  192.0.2.80: turn 1\n",
        "    192.0.2.80: timer 1: the callback added at net/tests/crashes/mod.rs:",
        "192.0.2.7: task 1 spawned at",
        "192.0.2.7: Deferred #",
        "named \"answer\"",
        "192.0.2.7: connection 1 received 6 bytes",
        "mark: 192.0.2.80 crashes",
    ] {
        assert!(text.contains(line), "{line:?} is missing in\n{text}");
    }
    assert_eq!(text.matches("192.0.2.80: turn 1\n").count(), 2, "one for each start");
    assert!(recording.page("hosts").contains("\"1 of 192.0.2.7\""));
    assert!(recording.timeline().contains(">turn 1 of 192.0.2.80</text>"));
    assert!(recording.chrome_trace().contains("\"args\":{\"name\":\"192.0.2.80\"}"));
    assert_eq!(recorded(50).entries().len(), 50);
}

// R20.2, R20.10
#[cfg(feature = "trace")]
#[test]
fn the_same_seed_gives_the_same_recording_of_hosts() {
    let views = || {
        let recording = recorded(usize::MAX);
        (recording.to_string(), recording.page("hosts"), recording.timeline(), recording.chrome_trace())
    };
    assert!(views() == views());
}
