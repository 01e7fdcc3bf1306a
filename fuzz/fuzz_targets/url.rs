//! URLs and the references of redirects: what is taken can be written and read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use twistor_net::http::{HeadWriter, Url};

fn check(url: &Url) {
    let shown = url.to_string();
    assert_eq!(Url::parse(&shown).map(|again| again.to_string()), Ok(shown));
    assert!(!url.host().is_empty() && !url.authority().contains('@'));
    let mut out = Vec::new();
    HeadWriter::request(&mut out, &http::Method::GET, url.target()).expect("a target can be sent").finish();
}

fuzz_target!(|data: &[u8]| {
    let Ok(base) = Url::parse("https://u:p@example.org:8080/a/b/../c?d#e") else { return };
    if let Ok(url) = base.join(data) {
        check(&url);
    }
    if let Some(url) = std::str::from_utf8(data).ok().and_then(|text| Url::parse(text).ok()) {
        check(&url);
        let _ = url.basic_credentials();
        if let Ok(again) = url.join(b"x/../y") {
            check(&again);
        }
    }
});
