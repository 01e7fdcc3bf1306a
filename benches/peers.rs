//! The peers, one folder each. A peer is chosen by name and role. Each role is a separate program that runs in a
//! child process.

mod late;
pub mod nginx;
mod random;
mod remote_plan;
mod tally;
mod timer_plan;
mod timer_queues;

mod calloop {
    pub mod echo;
    pub mod lateness;
    pub mod remote_calls;
    pub mod timers;
    pub mod turn;
}
mod hyper {
    pub mod http_client;
    pub mod http_server;
}
mod libcurl {
    pub mod http_client;
}
mod mio {
    pub mod echo;
    pub mod http_client;
    pub mod http_server;
    pub mod lateness;
    pub mod remote_calls;
    pub mod turn;
}
mod reqwest {
    pub mod http_client;
}
mod std {
    pub mod deferred;
    pub mod timers;
}
mod tokio {
    pub mod delay_queue;
    pub mod echo;
    pub mod fetch;
    pub mod lateness;
    pub mod remote_calls;
    pub mod runtime;
    pub mod timers;
    pub mod turn;
}
mod twistor {
    pub mod deferred;
    pub mod echo;
    pub mod http_client;
    pub mod http_server;
    pub mod lateness;
    pub mod remote_calls;
    pub mod timers;
    pub mod turn;
    pub mod writers;
}

use crate::runner::child::Arguments;

/// The length of every page that a client fetches.
pub const PAGE: usize = 1024;

pub fn find(peer: &str, role: &str) -> Option<fn(&Arguments<'_>)> {
    if peer == "timer-queues" {
        return timer_queues::find(role);
    }
    Some(match (peer, role) {
        ("calloop", "echo") => calloop::echo::serve,
        ("calloop", "lateness") => calloop::lateness::run,
        ("calloop", "remote-flood") => calloop::remote_calls::flood,
        ("calloop", "remote-ping") => calloop::remote_calls::ping,
        ("calloop", "timers-churn") => calloop::timers::churn,
        ("calloop", "timers-fire") => calloop::timers::fire,
        ("calloop", "turn") => calloop::turn::run,
        ("hyper", "http-client") => hyper::http_client::run,
        ("hyper", "http-server") => hyper::http_server::serve,
        ("libcurl", "http-client") => libcurl::http_client::run,
        ("mio", "echo") => mio::echo::serve,
        ("mio", "http-client") => mio::http_client::run,
        ("mio", "http-server") => mio::http_server::serve,
        ("mio", "http-server-closing") => mio::http_server::serve_closing,
        ("mio", "lateness") => mio::lateness::run,
        ("mio", "remote-flood") => mio::remote_calls::flood,
        ("mio", "remote-ping") => mio::remote_calls::ping,
        ("mio", "turn") => mio::turn::run,
        ("reqwest", "http-client") => reqwest::http_client::run,
        ("std", "deferred-calls") => std::deferred::calls,
        ("std", "deferred-closure") => std::deferred::closure,
        ("std", "deferred-closures") => std::deferred::closures,
        ("std", "deferred-futures") => std::deferred::futures,
        ("std", "timers-cancel") => std::timers::cancel,
        ("std", "timers-churn") => std::timers::churn,
        ("std", "timers-expire") => std::timers::expire,
        ("std", "timers-fire") => std::timers::fire,
        ("std", "timers-memory") => std::timers::memory,
        ("std", "timers-reset") => std::timers::reset,
        ("tokio", "delay-queue-cancel") => tokio::delay_queue::cancel,
        ("tokio", "delay-queue-churn") => tokio::delay_queue::churn,
        ("tokio", "delay-queue-expire") => tokio::delay_queue::expire,
        ("tokio", "delay-queue-fire") => tokio::delay_queue::fire,
        ("tokio", "delay-queue-memory") => tokio::delay_queue::memory,
        ("tokio", "delay-queue-reset") => tokio::delay_queue::reset,
        ("tokio", "echo") => tokio::echo::serve,
        ("tokio", "echo-shared") => tokio::echo::serve_shared,
        ("tokio", "lateness") => tokio::lateness::run,
        ("tokio", "remote-flood") => tokio::remote_calls::flood,
        ("tokio", "remote-ping") => tokio::remote_calls::ping,
        ("tokio", "remote-spawn-flood") => tokio::remote_calls::spawn_flood,
        ("tokio", "remote-spawn-ping") => tokio::remote_calls::spawn_ping,
        ("tokio", "timers-cancel") => tokio::timers::cancel,
        ("tokio", "timers-churn") => tokio::timers::churn,
        ("tokio", "timers-expire") => tokio::timers::expire,
        ("tokio", "timers-fire") => tokio::timers::fire,
        ("tokio", "timers-memory") => tokio::timers::memory,
        ("tokio", "timers-reset") => tokio::timers::reset,
        ("tokio", "turn") => tokio::turn::run,
        ("twistor", "deferred-bare") => twistor::deferred::bare,
        ("twistor", "deferred-fired") => twistor::deferred::fired,
        ("twistor", "deferred-pending") => twistor::deferred::pending,
        ("twistor", "deferred-written-out") => twistor::deferred::written_out,
        ("twistor", "echo") => twistor::echo::serve,
        ("twistor", "http-client") => twistor::http_client::run,
        ("twistor", "http-server") => twistor::http_server::serve,
        ("twistor", "lateness") => twistor::lateness::run,
        ("twistor", "remote-flood") => twistor::remote_calls::flood,
        ("twistor", "remote-ping") => twistor::remote_calls::ping,
        ("twistor", "timers-cancel") => twistor::timers::cancel,
        ("twistor", "timers-churn") => twistor::timers::churn,
        ("twistor", "timers-expire") => twistor::timers::expire,
        ("twistor", "timers-fire") => twistor::timers::fire,
        ("twistor", "timers-memory") => twistor::timers::memory,
        ("twistor", "timers-reset") => twistor::timers::reset,
        ("twistor", "turn") => twistor::turn::run,
        ("twistor", "writers") => twistor::writers::run,
        _ => return None,
    })
}
