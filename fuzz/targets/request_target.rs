//! Parsers of targets. The first line is a request target at the gateway endpoint, and also a
//! target. The second line is a `Location` in the origin's response.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millpond::gateway::PrefixedUrl;
use millpond::model::{FtpFile, Key, Target};

/// Returns whether the path has a dot segment if it is decoded once and backslashes are slashes.
fn leads_elsewhere(path: &str) -> bool {
    let mut plain = path.to_ascii_lowercase();
    for (escape, byte) in [("%2e", "."), ("%2f", "/"), ("%5c", "/"), ("\\", "/")] {
        plain = plain.replace(escape, byte);
    }
    plain
        .split('/')
        .any(|segment| segment == "." || segment == "..")
}

/// Checks the invariants of every target.
fn check(target: &Target) {
    let text = target.as_str();
    assert!(
        text.bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\' && byte != b'#'),
        "{text:?}"
    );
    assert!(!leads_elsewhere(target.path()), "{text:?}");
    assert!(target.path().starts_with('/'), "{text:?}");
    assert!(!target.host().is_empty() && target.port() != 0, "{text:?}");
    let (scheme, rest) = text.split_once("://").expect("a scheme");
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    assert!(
        scheme == "ftp" || (matches!(scheme, "http" | "https") && !authority.contains('@')),
        "{text:?}"
    );
    if let Ok(file) = FtpFile::from_target(target) {
        assert!(!file.path.iter().any(u8::is_ascii_control), "{text:?}");
        let mut segments = file.path.split(|byte| matches!(byte, b'/' | b'\\'));
        assert!(
            !segments.any(|segment| segment == b"." || segment == b".."),
            "{text:?}"
        );
    }
    let again = Target::parse(text).expect("a canonical string is a target");
    assert_eq!(again.as_str(), text);
    assert_eq!(Key::new(&again), Key::new(target));
}

fuzz_target!(|text: &str| {
    let (request, location) = text.split_once('\n').unwrap_or((text, ""));
    let target = Target::parse(request).ok().inspect(check);
    let rewrite = PrefixedUrl::parse(request).ok();
    if let Some(rewrite) = &rewrite {
        check(&rewrite.target);
        // The canonical string after a slash is the plainest request target. It must give the same
        // target.
        let plain = PrefixedUrl::parse(&format!("/{}", rewrite.target.as_str()))
            .expect("the plain form of a target");
        assert_eq!(plain.target, rewrite.target);
        assert!(plain.expected.is_empty());
    }
    for base in target
        .into_iter()
        .chain(rewrite.map(|rewrite| rewrite.target))
    {
        if let Ok(joined) = base.join(location) {
            check(&joined);
        }
    }
});
