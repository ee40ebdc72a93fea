//! File path and login of an ftp target, as sent to the server (RFC 1738, section 3.2.2).

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;

use super::Target;
use super::authority::ANONYMOUS;

/// Error returned when an ftp target does not name a file that can be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FtpFileError {
    #[error("the name ends in a slash, so it names a directory")]
    Folder,
    #[error("only ;type=i (binary) is supported")]
    Type,
    #[error("the name must not contain a control byte, plain or encoded")]
    ControlByte,
    #[error("the name must not contain a dot segment ('.' or '..')")]
    DotSegment,
}

/// File on an ftp server, and the login for it. Both are bytes: the encoding of names is unknown.
#[derive(Clone, PartialEq, Eq)]
pub struct FtpFile {
    /// Relative to the login directory. Absolute if the target's path begins with `//` or `/%2F`.
    pub path: Vec<u8>,
    /// `None` for an anonymous login.
    pub login: Option<Login>,
}

/// User name and password, decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub user: Vec<u8>,
    pub password: Vec<u8>,
}

impl Login {
    /// Parses an `Authorization` field (RFC 7617), in which clients send an ftp login to a proxy.
    /// `None` if it is not valid Basic authentication, or has a control byte.
    #[must_use]
    pub fn from_authorization(value: &str) -> Option<Self> {
        let (scheme, encoded) = value.split_once(' ')?;
        let decoded = BASE64_STANDARD
            .decode(encoded.trim())
            .ok()
            .filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        let (user, password) = (decoded[..colon].to_vec(), decoded[colon + 1..].to_vec());
        let is_clean = !decoded.iter().any(u8::is_ascii_control);
        is_clean.then_some(Self { user, password })
    }

    /// Returns whether the user is the anonymous one, whose files are public.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.user == ANONYMOUS.as_bytes()
    }
}

impl FtpFile {
    /// Decodes an ftp target once. A query is part of the name, because ftp URLs have no query.
    ///
    /// # Errors
    /// The target names a directory, has another type than `i`, or contains a dot segment or a
    /// control byte, which could inject an FTP command.
    pub fn from_target(target: &Target) -> Result<Self, FtpFileError> {
        let url = target.url();
        let mut name = target
            .path()
            .strip_prefix('/')
            .unwrap_or_default()
            .to_owned();
        if let Some(query) = url.query() {
            name.extend(["?", query]);
        }
        let name = match name.rsplit_once(";type=") {
            Some((name, code)) if code.eq_ignore_ascii_case("i") => name,
            Some((_, code)) if code.len() == 1 => return Err(FtpFileError::Type),
            _ => &name,
        };
        let path: Vec<u8> = percent_decode_str(name).collect();
        let login = target.has_credentials().then(|| Login {
            user: percent_decode_str(url.username()).collect(),
            password: percent_decode_str(url.password().unwrap_or_default()).collect(),
        });
        let arguments = login
            .iter()
            .flat_map(|login| [&login.user, &login.password])
            .chain([&path]);
        if arguments.flatten().any(u8::is_ascii_control) {
            return Err(FtpFileError::ControlByte);
        }
        if path.last().is_none_or(|last| *last == b'/') {
            return Err(FtpFileError::Folder);
        }
        // Target::parse rejects dot segments in the path. Here they can still come from the query,
        // or from the text before `;type=`.
        if path
            .split(|byte| matches!(byte, b'/' | b'\\'))
            .any(|segment| segment == b"." || segment == b"..")
        {
            return Err(FtpFileError::DotSegment);
        }
        Ok(Self { path, login })
    }
}

/// Omits the user and the password.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(…)")
    }
}

impl fmt::Debug for FtpFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FtpFile({})", String::from_utf8_lossy(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(target: &str) -> Result<FtpFile, FtpFileError> {
        FtpFile::from_target(&Target::parse(target).unwrap())
    }

    fn path(target: &str) -> Vec<u8> {
        file(target).unwrap().path
    }

    #[test]
    fn path_is_decoded_once() {
        for (target, expected) in [
            ("ftp://h.example/pub/x.tar.gz", "pub/x.tar.gz"),
            ("ftp://h.example/%2Fpub/x.tar.gz", "/pub/x.tar.gz"),
            ("ftp://h.example//pub/x.tar.gz", "/pub/x.tar.gz"),
            ("ftp://h.example/a%20b%2525.gz", "a b%25.gz"),
            ("ftp://h.example/a b.gz", "a b.gz"),
            ("ftp://h.example/%C3%BC/ü.gz", "ü/ü.gz"),
            ("ftp://h.example/what?.gz", "what?.gz"),
            ("ftp://h.example/x.gz;type=i", "x.gz"),
            ("ftp://h.example/x.gz;TYPE=I", "x.gz;TYPE=I"),
            ("ftp://h.example/x;type=.gz", "x;type=.gz"),
        ] {
            assert_eq!(
                String::from_utf8(path(target)).unwrap(),
                expected,
                "{target}"
            );
        }
        assert_eq!(
            path("ftp://h.example/%E9.gz"),
            b"\xe9.gz",
            "names need not be UTF-8"
        );
    }

    #[test]
    fn directories_and_command_injection_are_rejected() {
        for (target, error) in [
            ("ftp://h.example/", FtpFileError::Folder),
            ("ftp://h.example/pub/", FtpFileError::Folder),
            ("ftp://h.example/pub%2F", FtpFileError::Folder),
            ("ftp://h.example/pub/;type=i", FtpFileError::Folder),
            ("ftp://h.example/x.txt;type=a", FtpFileError::Type),
            ("ftp://h.example/pub;type=d", FtpFileError::Type),
            ("ftp://h.example/x?/../../y.gz", FtpFileError::DotSegment),
            ("ftp://h.example/x?%5C..%5Cy.gz", FtpFileError::DotSegment),
            ("ftp://h.example/pub/..;type=i", FtpFileError::DotSegment),
            (
                "ftp://h.example/x%0D%0ADELE%20y.gz",
                FtpFileError::ControlByte,
            ),
            ("ftp://h.example/x%0ay.gz", FtpFileError::ControlByte),
            ("ftp://h.example/x%00.gz", FtpFileError::ControlByte),
            ("ftp://u%0Aser:p@h.example/x.gz", FtpFileError::ControlByte),
            ("ftp://user:p%0D@h.example/x.gz", FtpFileError::ControlByte),
        ] {
            assert_eq!(file(target), Err(error), "{target}");
        }
    }

    #[test]
    fn login_is_decoded_and_not_printed() {
        let file = file("ftp://us%40er:p%3Ass@h.example/x.gz").unwrap();
        let login = file.login.clone().unwrap();
        assert_eq!(
            (login.user.as_slice(), login.password.as_slice()),
            (&b"us@er"[..], &b"p:ss"[..])
        );
        assert!(!format!("{file:?} {login:?}").contains("p:ss"));
        for target in [
            "ftp://h.example/x.gz",
            "ftp://anonymous:me%40x@h.example/x.gz",
        ] {
            assert_eq!(
                FtpFile::from_target(&Target::parse(target).unwrap())
                    .unwrap()
                    .login,
                None
            );
        }
    }

    #[test]
    fn authorization_header_is_parsed_as_login() {
        let login = |value: &str| Login::from_authorization(value);
        let found = login("Basic dXNlcjphOmI=").unwrap();
        assert_eq!(
            (found.user.as_slice(), found.password.as_slice()),
            (&b"user"[..], &b"a:b"[..])
        );
        assert!(
            login("basic YW5vbnltb3VzOkFSSUEyVVNFUkA=")
                .unwrap()
                .is_anonymous()
        );
        for value in [
            "",
            "Basic",
            "Basic ?",
            "Basic dXNlcg==",
            "Bearer dXNlcjphOmI=",
            "Basic dXNlcjphCmI=",
        ] {
            assert!(login(value).is_none(), "{value}");
        }
    }
}
