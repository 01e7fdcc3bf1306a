//! One folder per peer. Each role of a peer is a program that runs in a child process.

pub mod certificate;
mod late;
pub mod nginx;
mod random;
mod remote_plan;
mod tally;
mod timer_plan;
mod timer_queues;

mod attohttpc {
    pub mod http_client;
}
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
    pub mod late_responses;
}
mod libcurl {
    pub mod http_client;
}
mod mio {
    pub mod echo;
    pub mod http_client;
    pub mod http_server;
    pub mod late_responses;
    pub mod lateness;
    pub mod remote_calls;
    pub mod turn;
}
mod monoio {
    pub mod echo;
}
mod reqwest {
    pub mod http_client;
}
mod rustls {
    pub mod tls_echo;
}
mod smol {
    pub mod echo;
    pub mod lateness;
    pub mod turn;
}
mod std {
    pub mod deferred;
    pub mod simulated_network;
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
    pub mod tls_echo;
    pub mod turn;
}
mod turmoil {
    pub mod simulated_network;
}
mod twistor {
    pub mod deferred;
    pub mod echo;
    pub mod http_client;
    pub mod http_server;
    pub mod late_responses;
    pub mod lateness;
    pub mod remote_calls;
    pub mod simulated_network;
    pub mod timers;
    pub mod tls_echo;
    pub mod turn;
    pub mod writers;
}
mod ureq {
    pub mod http_client;
}

use crate::runner::child::Arguments;

/// The length of every page that a client fetches.
pub const PAGE: usize = 1024;

pub fn find(peer: &str, role: &str) -> Option<fn(&Arguments<'_>)> {
    if peer == "timer-queues" {
        return timer_queues::find(role);
    }
    Some(match (peer, role) {
        ("attohttpc", "http-client") => attohttpc::http_client::run,
        ("calloop", "echo") => calloop::echo::serve,
        ("calloop", "lateness") => calloop::lateness::run,
        ("calloop", "remote-flood") => calloop::remote_calls::flood,
        ("calloop", "remote-ping") => calloop::remote_calls::ping,
        ("calloop", "timers-churn") => calloop::timers::churn,
        ("calloop", "timers-fire") => calloop::timers::fire,
        ("calloop", "turn") => calloop::turn::run,
        ("hyper", "http-client") => hyper::http_client::run,
        ("hyper", "http-server") => hyper::http_server::serve,
        ("hyper", "late-responses") => hyper::late_responses::serve,
        ("libcurl", "http-client") => libcurl::http_client::run,
        ("mio", "echo") => mio::echo::serve,
        ("mio", "http-client") => mio::http_client::run,
        ("mio", "http-server") => mio::http_server::serve,
        ("mio", "http-server-closing") => mio::http_server::serve_closing,
        ("mio", "late-responses") => mio::late_responses::serve,
        ("mio", "lateness") => mio::lateness::run,
        ("mio", "remote-flood") => mio::remote_calls::flood,
        ("mio", "remote-ping") => mio::remote_calls::ping,
        ("mio", "turn") => mio::turn::run,
        ("monoio", "echo") => monoio::echo::serve,
        ("reqwest", "http-client") => reqwest::http_client::run,
        ("rustls", "tls-echo") => rustls::tls_echo::serve,
        ("smol", "echo") => smol::echo::serve,
        ("smol", "lateness") => smol::lateness::run,
        ("smol", "turn") => smol::turn::run,
        ("std", "deferred-calls") => std::deferred::calls,
        ("std", "deferred-closure") => std::deferred::closure,
        ("std", "deferred-closures") => std::deferred::closures,
        ("std", "deferred-futures") => std::deferred::futures,
        ("std", "simulated-network") => std::simulated_network::run,
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
        ("tokio", "tls-echo") => tokio::tls_echo::serve,
        ("tokio", "turn") => tokio::turn::run,
        ("turmoil", "simulated-network") => turmoil::simulated_network::run,
        ("twistor", "deferred-bare") => twistor::deferred::bare,
        ("twistor", "deferred-fired") => twistor::deferred::fired,
        ("twistor", "deferred-pending") => twistor::deferred::pending,
        ("twistor", "deferred-written-out") => twistor::deferred::written_out,
        ("twistor", "echo") => twistor::echo::serve,
        ("twistor", "http-client") => twistor::http_client::run,
        ("twistor", "http-server") => twistor::http_server::serve,
        ("twistor", "late-responses") => twistor::late_responses::serve,
        ("twistor", "lateness") => twistor::lateness::run,
        ("twistor", "remote-flood") => twistor::remote_calls::flood,
        ("twistor", "remote-ping") => twistor::remote_calls::ping,
        ("twistor", "simulated-network") => twistor::simulated_network::run,
        ("twistor", "timers-cancel") => twistor::timers::cancel,
        ("twistor", "timers-churn") => twistor::timers::churn,
        ("twistor", "timers-expire") => twistor::timers::expire,
        ("twistor", "timers-fire") => twistor::timers::fire,
        ("twistor", "timers-memory") => twistor::timers::memory,
        ("twistor", "timers-reset") => twistor::timers::reset,
        ("twistor", "tls-echo") => twistor::tls_echo::serve,
        ("twistor", "turn") => twistor::turn::run,
        ("twistor", "writers") => twistor::writers::run,
        ("ureq", "http-client") => ureq::http_client::run,
        _ => return None,
    })
}
