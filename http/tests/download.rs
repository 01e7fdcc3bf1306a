//! Responses saved to files.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "it is test code, which clippy knows only inside #[test]"
)]

mod scripted;
#[path = "../../net/tests/support/mod.rs"]
mod support;

use std::cell::{Cell, RefCell};
use std::os::unix::fs::PermissionsExt;
use std::rc::Rc;

use scripted::{Asked, Server, run_in, seconds};
use support::folder::Folder;
use twistor_http::{HttpError, PartialDownload, Request};
use twistor_net::Failure;
use twistor_reactor::Handle;

/// Runs a test in one world only, because the file system is real and storing a file takes time.
fn run(test: impl AsyncFn(Handle) -> Result<(), Failure> + 'static) {
    run_in(1, test);
}

async fn new(asked: Asked) {
    asked.say("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew");
}

fn mode(path: impl AsRef<std::path::Path>) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

// H8.1
#[test]
fn a_download_keeps_the_mode_of_the_old_file() {
    run(async |handle| {
        let (folder, server) = (Folder::new("mode"), Server::new(&handle, new));
        for (name, due) in [("private", 0o600), ("script", 0o755), ("shared", 0o664)] {
            let path = folder.write(name, "old");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(due)).unwrap();
            server.get("/").download_page(&handle, &path, |_, _| ()).await?;
            assert_eq!((std::fs::read(&path)?, mode(&path)), (b"new".to_vec(), due));
            server.get("/").resume_download(&handle, &path, |_, _| ()).await?;
            assert_eq!(mode(&path), due);
        }
        Ok(())
    });
}

// H8.1: also while it is being written
#[test]
fn the_temporary_file_is_not_more_readable_than_the_old_one() {
    run(async |handle| {
        let folder = Folder::new("temporary");
        let server = Server::new(&handle, async |asked: Asked| {
            asked.say("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nn");
            asked.sleep(5.0).await;
            asked.say("ew");
        });
        let path = folder.write("private", "old");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let download = server.get("/").download_page(&handle, &path, |_, _| ());
        handle.sleep(seconds(2.0)).await?;
        assert_eq!(folder.names().iter().map(|name| mode(folder.join(name))).collect::<Vec<_>>(), [0o600; 2]);
        download.await?;
        assert_eq!(folder.names(), ["private"]);
        Ok(())
    });
}

// H8.1
#[test]
fn a_download_follows_symbolic_links() {
    run(async |handle| {
        let (folder, server) = (Folder::new("links"), Server::new(&handle, new));
        std::fs::create_dir(folder.join("store")).unwrap();
        std::os::unix::fs::symlink("store/v1", folder.join("latest")).unwrap();
        std::os::unix::fs::symlink("latest", folder.join("alias")).unwrap();
        std::os::unix::fs::symlink("circle", folder.join("circle")).unwrap();
        for name in ["latest", "alias"] {
            server.get("/").download_page(&handle, folder.join(name), |_, _| ()).await?;
            assert!(std::fs::symlink_metadata(folder.join(name)).unwrap().is_symlink());
            assert_eq!(std::fs::read(folder.join("store/v1")).unwrap(), b"new");
            std::fs::remove_file(folder.join("store/v1")).unwrap();
        }
        let circle = server.get("/").download_page(&handle, folder.join("circle"), |_, _| ()).await;
        assert!(circle.unwrap_err().is::<std::io::Error>());
        Ok(())
    });
}

// H8.2
#[test]
fn long_names_and_leftover_files_are_harmless() {
    run(async |handle| {
        let (folder, server) = (Folder::new("names"), Server::new(&handle, new));
        for name in ["n".repeat(236), "n".repeat(255), format!("x{}", "\u{e9}".repeat(127))] {
            let path = folder.join(&name);
            server.get("/").download_page(&handle, &path, |_, _| ()).await?;
            server.get("/").resume_download(&handle, &path, |_, _| ()).await?;
            assert_eq!(folder.names(), [name]);
            std::fs::remove_file(path).unwrap();
        }
        // Leftovers of a killed process with the same number, as happens in containers.
        let left = |number: u64| format!(".page.{}-{number}.part", std::process::id());
        (0..1500).for_each(|number| drop(folder.write(&left(number), "left")));
        server.get("/").download_page(&handle, folder.join("page"), |_, _| ()).await?;
        assert_eq!(
            (std::fs::read(folder.join("page")).unwrap(), folder.names().len()),
            (b"new".to_vec(), 1501)
        );
        Ok(())
    });
}

// H8.4
#[cfg(feature = "compression")]
#[test]
fn a_download_has_the_servers_bytes_unless_decode_is_set() {
    use std::io::Write;
    run(async |handle| {
        let folder = Folder::new("coded");
        let mut coded = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        coded.write_all(b"contents").unwrap();
        let coded = Rc::new(coded.finish().unwrap());
        let (due, asked) = (coded.clone(), Rc::new(RefCell::new(Vec::new())));
        let seen = asked.clone();
        let server = Server::new(&handle, async move |asked: Asked| {
            seen.borrow_mut().push(asked.head.contains("Accept-Encoding: identity\r\n"));
            let length = coded.len();
            asked.say(&format!(
                "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n"
            ));
            asked.transport.write(&coded);
        });
        let path = folder.join("page.gz");
        assert_eq!(server.get("/").download_page(&handle, &path, |_, _| ()).await?, due.len() as u64);
        assert_eq!(std::fs::read(&path)?, **due);
        server.get("/").decode(true).download_page(&handle, &path, |_, _| ()).await?;
        assert_eq!((std::fs::read(&path)?, asked.take()), (b"contents".to_vec(), vec![true, false]));
        Ok(())
    });
}

/// The bytes received so far, and the expected total.
type Reported = (u64, Option<u64>);

const WHOLE: &str = "0123456789";

/// Serves ten bytes, with support for ranges.
async fn ranges(asked: Asked) {
    let field = |name: &str| asked.head.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
    let from = field("range: bytes=").and_then(|range| range.trim_end_matches('-').parse::<usize>().ok());
    let tag = "ETag: \"v1\"\r\nContent-Length:";
    match from.filter(|_| field("if-range: ").is_none_or(|condition| condition == "\"v1\"")) {
        Some(from) if from >= WHOLE.len() => {
            asked.say(&format!("HTTP/1.1 416 No\r\nContent-Range: bytes */10\r\n{tag} 0\r\n\r\n"));
        }
        Some(from) => asked.say(&format!(
            "HTTP/1.1 206 Part\r\nContent-Range: bytes {from}-9/10\r\n{tag} {}\r\n\r\n{}",
            10 - from,
            &WHOLE[from..]
        )),
        None => asked.say(&format!("HTTP/1.1 200 OK\r\n{tag} 10\r\n\r\n{WHOLE}")),
    }
}

// H8.5
#[test]
fn a_download_continues_where_an_earlier_one_ended() {
    run(async |handle| {
        let (folder, server) = (Folder::new("resume"), Server::new(&handle, ranges));
        // The partial file, its version, and the number of bytes that the server then sends.
        for (part, version, come) in [
            ("", "", 10),
            ("0123", "\"v1\"", 6),
            // The part is complete: the process was killed before it renamed the file.
            (WHOLE, "\"v1\"", 0),
            ("0123456789 and more", "\"v1\"", 10),
            ("abcd", "\"v0\"", 10),
            ("abcdefghijkl", "\"v0\"", 10),
            ("abcd", "W/\"v1\"", 10),
            ("abcd", "", 10),
        ] {
            folder.write("page.part", part);
            folder.write("page.part.version", version);
            let path = folder.join("page");
            let last: Rc<Cell<Option<Reported>>> = Rc::default();
            let told = last.clone();
            let progress = move |have, of| told.set(Some((have, of)));
            let length = server.get("/").resume_download(&handle, &path, progress).await?;
            assert_eq!((length, std::fs::read_to_string(&path)?.as_str()), (10, WHOLE), "{part} {version}");
            assert_eq!(folder.names(), ["page"]);
            assert_eq!(last.get(), (come > 0).then_some((10, Some(10))));
            std::fs::remove_file(path)?;
        }
        Ok(())
    });
}

// H8.5: as often as necessary
#[test]
fn an_interrupted_download_continues_where_it_stopped() {
    run(async |handle| {
        let folder = Folder::new("cut");
        let server = Server::new(&handle, async |asked: Asked| {
            let range = asked.head.lines().find_map(|line| line.strip_prefix("range: bytes="));
            let from: usize = range.map_or(0, |range| range.trim_end_matches('-').parse().unwrap());
            let (status, to) = if from == 0 { ("200 OK", 3) } else { ("206 Part", (from + 4).min(10)) };
            asked.say(&format!(
                "HTTP/1.1 {status}\r\nETag: \"v1\"\r\nContent-Range: bytes {from}-{}/10\r\nContent-Length: {}\r\n\r\n{}",
                to - 1,
                // The first answer is incomplete. The second is complete, but only a part of the rest.
                if from == 0 { 10 } else { to - from },
                &WHOLE[from..to]
            ));
            asked.transport.lose_connection();
        });
        let path = folder.join("page");
        for received in [3, 7] {
            let failure = server.get("/").resume_download(&handle, &path, |_, _| ()).await.unwrap_err();
            let partial = failure.trap::<PartialDownload>()?;
            assert_eq!((partial.received, partial.expected), (received, Some(10)));
            assert_eq!(folder.names(), ["page.part", "page.part.version"]);
        }
        assert_eq!(server.get("/").resume_download(&handle, &path, |_, _| ()).await?, 10);
        assert_eq!((std::fs::read_to_string(&path)?.as_str(), folder.names().len()), (WHOLE, 1));
        Ok(())
    });
}

// H8.5: an answer other than the file does not replace it
#[test]
fn an_answer_that_is_not_the_file_keeps_the_part() {
    run(async |handle| {
        let folder = Folder::new("refused");
        for (answer, error) in [
            ("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy", "503 Busy"),
            ("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "404 No"),
        ] {
            let server = Server::new(&handle, async move |asked: Asked| asked.say(answer));
            folder.write("page", "old");
            folder.write("page.part", "0123");
            folder.write("page.part.version", "\"v1\"");
            let failure = server.get("/").resume_download(&handle, folder.join("page"), |_, _| ()).await;
            assert_eq!(failure.unwrap_err().trap::<HttpError>()?.to_string(), error);
            assert_eq!(std::fs::read(folder.join("page"))?, b"old");
            assert_eq!(std::fs::read(folder.join("page.part"))?, b"0123");
        }
        let own = Request::get("http://127.0.0.1:9/").header("Range", "bytes=1-");
        let own = own.resume_download(&handle, folder.join("page"), |_, _| ()).await.unwrap_err();
        assert!(own.is::<std::io::Error>());
        Ok(())
    });
}
