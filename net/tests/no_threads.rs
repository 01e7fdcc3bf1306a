//! A process that cannot start threads. P6.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod support;

use std::process::Command;

use support::child::output;
use support::*;
use twistor_net::{ClientEndpoint, DnsLookupError};

// P6.6, R4.5: the test runs itself again, with a larger thread stack than there is memory
#[test]
fn a_job_without_a_thread_fails_with_the_reason() {
    const CHILD: &str = "TWISTOR_TEST_CHILD";
    if std::env::var_os(CHILD).is_none() {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["a_job_without_a_thread_fails_with_the_reason", "--exact", "--test-threads=1"]);
        child.env(CHILD, "1").env("RUST_MIN_STACK", (1_u64 << 60).to_string());
        let output = output(&mut child).unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        return assert!(output.status.success() && told.contains("1 passed"), "{output:?}");
    }
    if std::thread::Builder::new().spawn(|| ()).is_ok() {
        return println!("skipped: threads of any size can be started here");
    }
    run(|reactor| {
        let job = reactor.defer_to_thread(|| Ok(()));
        let job = job.add_both(|result| {
            let failure = result.unwrap_err();
            assert!(failure.is::<std::io::Error>());
            assert!(failure.to_string().starts_with("could not start a thread: "), "{failure}");
        });
        let connecting = ClientEndpoint::tcp("localhost", 1).connect(reactor, Echo);
        let connecting = connecting.add_both(|result| {
            let failure = result.unwrap_err();
            assert!(failure.is::<DnsLookupError>());
            let told = "cannot resolve \"localhost\": could not start a thread: ";
            assert!(failure.to_string().starts_with(told), "{failure}");
        });
        job.add_callback(move |()| connecting)
    });
}
