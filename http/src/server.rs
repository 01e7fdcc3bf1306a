//! The HTTP/1.1 server.
//!
//! A [`Site`] serves [`Resource`]s. Handlers get a [`Request`] and return text, bytes, a [`Response`], or a
//! [`Deferred`](twistor_deferred::Deferred) of one of these; see [`IntoAnswer`].
//!
//! ```
//! use std::time::Duration;
//! use twistor::http::server::{Site, Tree};
//! use twistor::prelude::*;
//!
//! let reactor = Reactor::new()?;
//! let root = Tree::new()
//!     .get(|_| "Hello, world!")
//!     .put_child("echo", Tree::new().post(|request| request.take_body()))
//!     .put_child("slow", Tree::new().get(|request| {
//!         defer_later(request.reactor(), Duration::from_secs(1), || Ok("at last"))
//!     }));
//! let port = Site::new(&reactor, root).listen("tcp:0:interface=127.0.0.1".parse()?)?;
//! println!("listening on http://{}", port.address());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod connection;
mod exchange;
mod files;
mod resource;
mod settings;
mod shared;
mod site;
mod tree;
mod wire;

pub use connection::SiteConnection;
pub use exchange::answer::{Answer, IntoAnswer, StatusError};
pub use exchange::answered::Answered;
pub use exchange::request::Request;
pub use exchange::response::Response;
pub use files::Files;
pub use resource::{BodyMode, Resource};
pub use settings::{Settings, Timeouts};
pub use site::Site;
pub use tree::Tree;
pub use wire::body_reader::{BodyCut, BodyRefused, RequestBody};
pub use wire::body_writer::BodyWriter;
