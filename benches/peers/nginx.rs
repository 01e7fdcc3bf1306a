//! nginx: one process, with a configuration written for the run.

use std::fs;
use std::net::TcpListener;

use crate::runner::case::Trouble;
use crate::runner::child::{Server, is_installed};

const CONFIGURATION: &str = include_str!("nginx/nginx.conf");

pub fn start(body: &str) -> Result<Server, Trouble> {
    if !is_installed("nginx") {
        return Err(Trouble::missing("nginx is not installed"));
    }
    // An address of its own: `start_at` could connect to itself on a free port of 127.0.0.1.
    let free = TcpListener::bind("127.0.0.2:0").and_then(|listener| listener.local_addr());
    let address = free.map_err(|error| error.to_string())?.to_string();
    let folder = std::env::temp_dir().join("twistor-benches-nginx");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let path = folder.join("nginx.conf");
    let text = CONFIGURATION
        .replace("ADDRESS", &address)
        .replace("BODY", body)
        .replace("FOLDER", &folder.to_string_lossy());
    fs::write(&path, text).map_err(|error| error.to_string())?;
    let arguments =
        ["-e", "stderr", "-p", &folder.to_string_lossy(), "-c", &path.to_string_lossy()].map(str::to_owned);
    Ok(Server::start_at(address, "nginx", &arguments)?)
}
