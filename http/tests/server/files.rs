//! W7: the files of a folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use twistor_http::server::{Files, Tree};

use crate::client::*;
use crate::support::folder::Folder;
use crate::support::logged::{keep_log, logged};
use crate::support::noise;

/// A folder of files to serve, with a file outside of it.
struct Pages(Folder);

impl Pages {
    fn new(name: &str) -> Pages {
        let pages = Pages(Folder::new(name));
        fs::create_dir_all(pages.0.join("root/sub")).unwrap();
        pages.write("root/page.html", "<p>page");
        pages.write("root/sub/index.html", "<p>index");
        pages.write("root/digits", "0123456789");
        pages.write("root/with space.txt", "spaced");
        pages.write("secret", "secret");
        pages
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        self.0.write(name, text);
    }

    fn root(&self) -> PathBuf {
        self.0.join("root")
    }
}

// W7.9
#[test]
fn a_missing_folder_is_logged_once() {
    keep_log();
    let pages = Pages::new("no-folder");
    let (missing, file) = (pages.0.join("no\nfolder"), pages.0.join("secret/below"));
    let files = Files::new(&missing);
    let root = Tree::new()
        .put_child("a", files.clone())
        .put_child("b", files)
        .put_child("file", Files::new(&file))
        .put_child("fine", Files::new(pages.root()));
    serve(root, |address| {
        let mut client = Client::connect(address)?;
        for path in ["/a/page.html", "/a/", "/b/page.html", "/file/page.html", "/fine/missing"] {
            assert_eq!(client.get(path)?.status, 404, "{path}");
        }
        Ok(())
    });
    let told = |folder: &Path, error: &str| format!("cannot serve files from {folder:?}: {error}");
    assert_eq!(
        logged(),
        [
            told(&missing, "No such file or directory (os error 2)"),
            told(&file, "Not a directory (os error 20)"),
        ]
    );
}

// W7.4
#[test]
fn files_are_found_by_their_paths() {
    let pages = Pages::new("paths");
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
    serve(Files::new(pages.root()), move |address| {
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
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
        client.send("OPTIONS /page.html HTTP/1.1\r\nHost: here\r\n\r\n")?;
        let options = client.reply()?;
        assert_eq!((options.status, options.header("allow")), (204, Some("GET, HEAD, OPTIONS")));
        client.send("PLANT /page.html HTTP/1.1\r\nHost: here\r\n\r\n")?;
        assert_eq!(client.reply()?.status, 501);
        client.send("HEAD /digits HTTP/1.1\r\nHost: here\r\n\r\n")?;
        assert_eq!(client.head()?.header("content-length"), Some("10"));
        Ok(())
    });
}

// W7.4
#[test]
fn a_folder_without_a_slash_is_redirected() {
    let pages = Pages::new("slash");
    serve(Tree::new().put_child("files", Files::new(pages.root())), |address| {
        let mut client = Client::connect(address)?;
        let reply = client.get("/files/sub?a=1")?;
        assert_eq!((reply.status, reply.header("location")), (301, Some("/files/sub/?a=1")));
        assert_eq!(client.get("/files/sub/")?.text(), "<p>index");
        // So is the root folder, at its place in the tree.
        let reply = client.get("/files?a=1")?;
        assert_eq!((reply.status, reply.header("location")), (301, Some("/files/?a=1")));
        assert_eq!(client.get("/files/digits")?.text(), "0123456789");
        Ok(())
    });
    serve(Tree::new().fallback(Files::new(pages.root().join("sub"))), |address| {
        assert_eq!(Client::connect(address)?.get("/")?.text(), "<p>index");
        Ok(())
    });
}

// W7.6
#[test]
fn no_path_leads_out_of_the_root() {
    let pages = Pages::new("root");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(pages.0.join("secret"), pages.root().join("link")).unwrap();
        std::os::unix::fs::symlink(pages.0.path(), pages.root().join("up")).unwrap();
        std::os::unix::fs::symlink(pages.root().join("digits"), pages.root().join("inside")).unwrap();
    }
    let root = Tree::new().put_child("files", Files::new(pages.root())).fallback(Files::new(pages.root()));
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

// W7.4
#[test]
fn parts_of_files_are_sent() {
    let pages = Pages::new("ranges");
    let large = noise(1_000_000);
    pages.write("root/large", &large);
    pages.write("root/empty", "");
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
    serve(Files::new(pages.root()), move |address| {
        let mut client = Client::connect(address)?;
        for (range, status, text, content_range) in cases {
            client.send(format!("GET /digits HTTP/1.1\r\nHost: a\r\nRange: {range}\r\n\r\n"))?;
            let reply = client.reply()?;
            let seen = (reply.status, reply.text(), reply.header("content-range"));
            assert_eq!(seen, (status, text.to_owned(), content_range), "{range}");
        }
        // Ranges apply to GET only, and an empty file has none.
        client.send("HEAD /digits HTTP/1.1\r\nHost: a\r\nRange: bytes=2-4\r\n\r\n")?;
        let head = client.head()?;
        assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
        for (range, status) in [("bytes=-5", 200), ("bytes=0-", 416)] {
            client.send(format!("GET /empty HTTP/1.1\r\nHost: a\r\nRange: {range}\r\n\r\n"))?;
            assert_eq!(client.reply()?.status, status, "{range}");
        }
        assert!(client.get("/large")?.body == large);
        client.send("GET /large HTTP/1.1\r\nHost: a\r\nRange: bytes=100000-899999\r\n\r\n")?;
        let reply = client.reply()?;
        assert_eq!(reply.status, 206);
        assert!(reply.body == large[100_000..900_000]);
        Ok(())
    });
}

// W7.4
#[test]
fn an_unchanged_file_is_not_sent_again() {
    let pages = Pages::new("conditions");
    let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
    fs::File::options()
        .write(true)
        .open(pages.root().join("digits"))
        .unwrap()
        .set_modified(an_hour_ago)
        .unwrap();
    serve(Files::new(pages.root()), |address| {
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
            // If-Match compares strongly, so a weak tag never matches.
            (format!("If-Match: W/{tag}"), 412),
            (format!("If-Match: W/{tag}, {tag}"), 200),
            (format!("If-None-Match: \"a\"\r\nIf-None-Match: {tag}"), 304),
            (format!("If-Range: W/{tag}\r\nRange: bytes=0-1"), 200),
            (format!("If-None-Match: {tag}\r\nRange: bytes=99-"), 304),
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

// W7.1: the file can change again within that second and keep its date
#[test]
fn if_range_ignores_a_date_whose_second_is_not_over() {
    let pages = Pages::new("if-range");
    let file = fs::File::options().write(true).open(pages.root().join("digits")).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(3600)).unwrap();
    serve(Files::new(pages.root()), |address| {
        let mut client = Client::connect(address)?;
        let first = client.get("/digits")?;
        let [tag, date] =
            ["etag", "last-modified"].map(|name| first.header(name).unwrap_or_default().to_owned());
        for (validator, status) in [(tag, 206), (date, 200)] {
            client.send(format!(
                "GET /digits HTTP/1.1\r\nHost: a\r\nIf-Range: {validator}\r\nRange: bytes=0-1\r\n\r\n"
            ))?;
            assert_eq!(client.reply()?.status, status, "{validator}");
        }
        Ok(())
    });
}

// W7.2: characters that a query may contain but a URL may not are encoded
#[test]
fn a_redirect_to_a_folder_has_a_clean_query() {
    let pages = Pages::new("query");
    fs::create_dir(pages.root().join("below")).unwrap();
    serve(Files::new(pages.root()), |address| {
        let reply = Client::connect(address)?.get("/below?a=\"<b>\\&c=%20")?;
        assert_eq!((reply.status, reply.header("location")), (301, Some("/below/?a=%22%3Cb%3E%5C&c=%20")));
        Ok(())
    });
}

// W7.5
#[cfg(unix)]
#[test]
fn a_file_that_must_not_be_read_is_forbidden() {
    use std::os::unix::fs::PermissionsExt;
    let pages = Pages::new("forbidden");
    let forbid = |name: &str| {
        fs::set_permissions(pages.root().join(name), fs::Permissions::from_mode(0o000)).unwrap();
    };
    forbid("page.html");
    if fs::File::open(pages.root().join("page.html")).is_ok() {
        return as_nobody("files::a_file_that_must_not_be_read_is_forbidden");
    }
    forbid("sub");
    for path in ["/page.html", "/sub/index.html", "/sub/"] {
        let reply = serve(Files::new(pages.root()), move |address| Client::connect(address)?.get(path));
        assert_eq!((reply.status, reply.text().as_str()), (403, "Forbidden\n"), "{path}");
    }
    fs::set_permissions(pages.root().join("sub"), fs::Permissions::from_mode(0o700)).unwrap();
}

/// Runs the test again as a user without root's permissions.
#[cfg(unix)]
fn as_nobody(test: &str) {
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65534;
    if std::env::var_os("TWISTOR_AS_NOBODY").is_some() {
        return println!("skipped: an unprivileged user can read every file here");
    }
    // By this path, because that user may not have access to the program's own path.
    let mut again = std::process::Command::new("/proc/self/exe");
    again.args(["--exact", "--nocapture", test]).env("TWISTOR_AS_NOBODY", "1").uid(NOBODY).gid(NOBODY);
    match crate::support::child::output(again.current_dir("/")) {
        Ok(output) => {
            let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && told.contains("1 passed"), "{told}");
        }
        Err(error) => {
            println!("skipped: this user can read every file and cannot become another user: {error}")
        }
    }
}

// W7.5
#[test]
fn a_missing_root_has_no_files() {
    let reply =
        serve(Files::new(Path::new("/nonexistent/root")), |address| Client::connect(address)?.get("/a"));
    assert_eq!(reply.status, 404);
}

// W7.6: names are the percent-decoded path
#[test]
fn any_name_that_a_path_can_express_is_served() {
    let pages = Pages::new("names");
    let names = ["root/caf\u{e9} #1?.txt", "root/100%.txt", "root/.hidden", "root/a+b", "root/..twodots"];
    for name in names {
        pages.write(name, name);
    }
    serve(Files::new(pages.root()), move |address| {
        let mut client = Client::connect(address)?;
        let paths = ["/caf%C3%A9%20%231%3F.txt", "/100%25.txt", "/.hidden", "/a+b", "/..twodots"];
        for (path, name) in paths.into_iter().zip(names) {
            assert_eq!(client.get(path)?.text(), name, "{path}");
        }
        // Not valid UTF-8, so not the name above. The others are folders or do not exist.
        for path in ["/caf%E9", "/%2ehidden/", "/caf%C3%A9"] {
            assert_eq!(client.get(path)?.status, 404, "{path}");
        }
        assert_eq!(client.get("/%2ehidden")?.text(), "root/.hidden");
        Ok(())
    });
}

// W7.5: a name that is not a regular file is not found, and opening it never blocks
#[cfg(unix)]
#[test]
fn pipes_devices_and_link_cycles_are_not_files() {
    let pages = Pages::new("pipes");
    let made = std::process::Command::new("mkfifo").arg(pages.root().join("pipe")).status();
    assert!(made.unwrap().success());
    std::os::unix::fs::symlink(pages.root().join("round"), pages.root().join("round")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(pages.root().join("socket")).unwrap();
    serve(Tree::new().put_child("dev", Files::new("/dev")).fallback(Files::new(pages.root())), |address| {
        let mut client = Client::connect(address)?;
        for path in ["/pipe", "/round", "/round/below", "/socket", "/dev/zero", "/dev/null", "/dev/full"] {
            assert_eq!(client.get(path)?.status, 404, "{path}");
        }
        assert_eq!(client.get("/digits")?.text(), "0123456789");
        Ok(())
    });
}

// W2.6: a file that shrinks, grows or is deleted while it is sent
#[test]
fn a_file_that_changes_while_it_is_sent_never_looks_complete() {
    let pages = Pages::new("changing");
    let large = noise(30_000_000);
    for name in ["root/shrinks", "root/grows", "root/goes"] {
        pages.write(name, &large);
    }
    let root = pages.root();
    serve(Files::new(pages.root()), move |address| {
        let begun = |name: &str| {
            let mut client = Client::connect(address)?;
            client.send(get(&format!("/{name}")))?;
            assert_eq!(client.head()?.header("content-length"), Some("30000000"));
            Ok::<_, std::io::Error>(client)
        };
        let mut client = begun("shrinks")?;
        fs::File::options().write(true).open(root.join("shrinks"))?.set_len(20_000_000)?;
        assert!(client.exactly(30_000_000).is_err(), "the body looked complete");
        let mut client = begun("grows")?;
        fs::File::options().append(true).open(root.join("grows"))?.set_len(40_000_000)?;
        assert!(client.exactly(30_000_000)? == large);
        let mut client = begun("goes")?;
        fs::remove_file(root.join("goes"))?;
        assert!(client.exactly(30_000_000)? == large);
        assert_eq!(client.get("/goes")?.status, 404);
        Ok(())
    });
}
