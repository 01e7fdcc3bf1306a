//! W7: the files of a folder.

use std::fs;
use std::path::{Path, PathBuf};

use twistor_net::http::server::{Files, Tree};

use crate::client::*;
use crate::support::noise;

/// A folder that goes away with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("twistor-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("root/sub")).unwrap();
        let folder = Folder(path);
        folder.write("root/page.html", "<p>page");
        folder.write("root/sub/index.html", "<p>index");
        folder.write("root/digits", "0123456789");
        folder.write("root/with space.txt", "spaced");
        folder.write("secret", "secret");
        folder
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.0.join(name), text).unwrap();
    }

    fn root(&self) -> PathBuf {
        self.0.join("root")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

// W7
#[test]
fn files_are_found_by_their_paths() {
    let folder = Folder::new("paths");
    let cases = [
        ("/page.html", 200, "<p>page", Some("text/html; charset=utf-8")),
        ("/with%20space.txt", 200, "spaced", Some("text/plain; charset=utf-8")),
        ("/digits", 200, "0123456789", Some("application/octet-stream")),
        ("/sub/", 200, "<p>index", Some("text/html; charset=utf-8")),
        ("/missing", 404, "Not Found\n", Some("text/plain; charset=utf-8")),
        ("/page.html/", 404, "Not Found\n", Some("text/plain; charset=utf-8")),
        ("/page.html/below", 404, "Not Found\n", Some("text/plain; charset=utf-8")),
        ("/", 404, "Not Found\n", Some("text/plain; charset=utf-8")),
        ("/sub//index.html", 404, "Not Found\n", Some("text/plain; charset=utf-8")),
    ];
    serve(Files::new(folder.root()), move |address| {
        let mut client = Client::connect(address)?;
        for (path, status, text, kind) in cases {
            let reply = client.get(path)?;
            assert_eq!(
                (reply.status, reply.text().as_str(), reply.header("content-type")),
                (status, text, kind),
                "{path}"
            );
        }
        let long = client.get(&format!("/{}", "x".repeat(3000)))?;
        assert_eq!(long.status, 404);
        client.send(post("/page.html", ""))?;
        let refused = client.reply()?;
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")));
        client.send("HEAD /digits HTTP/1.1\r\nHost: here\r\n\r\n")?;
        assert_eq!(client.head()?.header("content-length"), Some("10"));
        Ok(())
    });
}

// W7
#[test]
fn a_folder_is_asked_for_with_a_slash() {
    let folder = Folder::new("slash");
    serve(Tree::new().put_child("files", Files::new(folder.root())), |address| {
        let mut client = Client::connect(address)?;
        let reply = client.get("/files/sub?a=1")?;
        assert_eq!((reply.status, reply.header("location")), (301, Some("/files/sub/?a=1")));
        assert_eq!(client.get("/files/sub/")?.text(), "<p>index");
        assert_eq!(client.get("/files/digits")?.text(), "0123456789");
        Ok(())
    });
}

// W7
#[test]
fn no_path_leads_out_of_the_root() {
    let folder = Folder::new("root");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(folder.0.join("secret"), folder.root().join("link")).unwrap();
        std::os::unix::fs::symlink(&folder.0, folder.root().join("up")).unwrap();
        std::os::unix::fs::symlink(folder.root().join("digits"), folder.root().join("inside")).unwrap();
    }
    let root = Tree::new().put_child("files", Files::new(folder.root())).fallback(Files::new(folder.root()));
    serve(root, |address| {
        let mut client = Client::connect(address)?;
        let paths = [
            "/../secret",
            "/sub/../../secret",
            "/%2e%2e/secret",
            "/..%2fsecret",
            "/sub/..%2f..%2fsecret",
            "/%2e%2e%2fsecret",
            "/..%5csecret",
            "/.",
            "/./digits",
            "/digits%00.html",
            "/%00",
            "//etc/passwd",
            "/%2fetc%2fpasswd",
            "/link",
            "/up/secret",
            "/up/root/../secret",
            "/up",
        ];
        for path in paths {
            for place in ["", "/files"] {
                let reply = client.get(&format!("{place}{path}"))?;
                assert_eq!((reply.status, reply.text().as_str()), (404, "Not Found\n"), "{place}{path}");
            }
        }
        if cfg!(unix) {
            assert_eq!(client.get("/inside")?.text(), "0123456789");
        }
        Ok(())
    });
}

// W7
#[test]
fn parts_of_files_are_sent() {
    let folder = Folder::new("ranges");
    let large = noise(1_000_000);
    folder.write("root/large", &large);
    let cases: [(&str, u16, &str, Option<&str>); 14] = [
        ("bytes=0-0", 206, "0", Some("bytes 0-0/10")),
        ("bytes=2-4", 206, "234", Some("bytes 2-4/10")),
        ("bytes=7-", 206, "789", Some("bytes 7-9/10")),
        ("bytes=7-100", 206, "789", Some("bytes 7-9/10")),
        ("bytes=-3", 206, "789", Some("bytes 7-9/10")),
        ("bytes=-100", 206, "0123456789", Some("bytes 0-9/10")),
        ("bytes=10-", 416, "Range Not Satisfiable\n", Some("bytes */10")),
        ("bytes=-0", 416, "Range Not Satisfiable\n", Some("bytes */10")),
        ("bytes=99999999999999999999999-", 416, "Range Not Satisfiable\n", Some("bytes */10")),
        ("bytes=4-2", 200, "0123456789", None),
        ("bytes=a-b", 200, "0123456789", None),
        ("bytes=0-1,3-4", 200, "0123456789", None),
        ("lines=0-1", 200, "0123456789", None),
        ("bytes=-", 200, "0123456789", None),
    ];
    serve(Files::new(folder.root()), move |address| {
        let mut client = Client::connect(address)?;
        for (range, status, text, content_range) in cases {
            client.send(format!("GET /digits HTTP/1.1\r\nHost: a\r\nRange: {range}\r\n\r\n"))?;
            let reply = client.reply()?;
            let seen = (reply.status, reply.text(), reply.header("content-range"));
            assert_eq!(seen, (status, text.to_owned(), content_range), "{range}");
        }
        assert!(client.get("/large")?.body == large);
        client.send("GET /large HTTP/1.1\r\nHost: a\r\nRange: bytes=100000-899999\r\n\r\n")?;
        let reply = client.reply()?;
        assert_eq!(reply.status, 206);
        assert!(reply.body == large[100_000..900_000]);
        Ok(())
    });
}

// W7
#[test]
fn what_the_client_has_is_not_sent_again() {
    let folder = Folder::new("conditions");
    serve(Files::new(folder.root()), |address| {
        let mut client = Client::connect(address)?;
        let first = client.get("/digits")?;
        let tag = first.header("etag").unwrap().to_owned();
        let date = first.header("last-modified").unwrap().to_owned();
        let old = "Sun, 06 Nov 1994 08:49:37 GMT";
        let cases = [
            (format!("If-None-Match: {tag}"), 304),
            (format!("If-None-Match: \"other\", W/{tag}"), 304),
            ("If-None-Match: *".to_owned(), 304),
            ("If-None-Match: \"other\"".to_owned(), 200),
            (format!("If-None-Match: \"other\"\r\nIf-Modified-Since: {date}"), 200),
            (format!("If-Match: {tag}"), 200),
            ("If-Match: *".to_owned(), 200),
            ("If-Match: \"other\"".to_owned(), 412),
            (format!("If-Match: {tag}\r\nIf-Unmodified-Since: {old}"), 200),
            (format!("If-Unmodified-Since: {date}"), 200),
            (format!("If-Unmodified-Since: {old}"), 412),
            (format!("If-Modified-Since: {date}"), 304),
            (format!("If-Modified-Since: {old}"), 200),
            ("If-Modified-Since: yesterday".to_owned(), 200),
            (format!("If-Range: {tag}\r\nRange: bytes=0-1"), 206),
            (format!("If-Range: {date}\r\nRange: bytes=0-1"), 206),
            ("If-Range: \"other\"\r\nRange: bytes=0-1".to_owned(), 200),
            (format!("If-Range: {old}\r\nRange: bytes=0-1"), 200),
        ];
        for (fields, status) in cases {
            client.send(format!("GET /digits HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"))?;
            let reply = client.reply()?;
            assert_eq!((reply.status, reply.header("etag")), (status, Some(tag.as_str())), "{fields}");
        }
        Ok(())
    });
}

// W7
#[test]
fn a_root_that_is_not_there_has_no_files() {
    let reply =
        serve(Files::new(Path::new("/nonexistent/root")), |address| Client::connect(address)?.get("/a"));
    assert_eq!(reply.status, 404);
}
