//! What an ftp target names, as its server is told (RFC 1738, section 3.2.2).

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;

use super::Target;
use super::target::ANONYMOUS;

/// Why an ftp target names nothing that is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FtpFileError {
    #[error("a name that ends in a slash is a folder's")]
    Folder,
    #[error("a file is fetched as it is, so there is no ;type= but i")]
    Type,
    #[error("a name must not hold a control byte, in any encoding")]
    ControlByte,
    #[error("a name must not hold a dot segment ('.' or '..')")]
    DotSegment,
}

/// A file on an ftp server, and who asks for it. All of it is bytes: nobody says in which encoding a server's names are.
#[derive(Clone, PartialEq, Eq)]
pub struct FtpFile {
    /// Relative to the folder that the server opens with, absolute where the target's path begins with `//` or `/%2F`.
    pub path: Vec<u8>,
    /// Nobody: anonymous.
    pub login: Option<Login>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub user: Vec<u8>,
    pub password: Vec<u8>,
}

impl Login {
    /// Reads an `Authorization` (RFC 7617): clients put a login for ftp there when they ask a proxy.
    #[must_use]
    pub fn of_authorization(value: &str) -> Option<Self> {
        let (scheme, encoded) = value.split_once(' ')?;
        let decoded = BASE64_STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        let (user, password) = (decoded[..colon].to_vec(), decoded[colon + 1..].to_vec());
        let is_clean = !decoded.iter().any(u8::is_ascii_control);
        is_clean.then_some(Self { user, password })
    }

    /// Whether whoever logs in as this gets what everybody gets.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.user == ANONYMOUS.as_bytes()
    }
}

impl FtpFile {
    /// Decodes an ftp target, once. A query belongs to the name: in this scheme there are none.
    ///
    /// # Errors
    /// The target names a folder, or asks for lines of text, or would put another command into the conversation.
    pub fn of(target: &Target) -> Result<Self, FtpFileError> {
        let url = target.url();
        let mut name = target.path().strip_prefix('/').unwrap_or_default().to_owned();
        if let Some(query) = url.query() {
            name.extend(["?", query]);
        }
        let name = match name.rsplit_once(";type=") {
            Some((name, form)) if form.eq_ignore_ascii_case("i") => name,
            Some((_, form)) if form.len() == 1 => return Err(FtpFileError::Type),
            _ => &name,
        };
        let path: Vec<u8> = percent_decode_str(name).collect();
        let login = target.has_credentials().then(|| Login {
            user: percent_decode_str(url.username()).collect(),
            password: percent_decode_str(url.password().unwrap_or_default()).collect(),
        });
        let words = login.iter().flat_map(|login| [&login.user, &login.password]).chain([&path]);
        if words.flatten().any(u8::is_ascii_control) {
            return Err(FtpFileError::ControlByte);
        }
        if path.last().is_none_or(|last| *last == b'/') {
            return Err(FtpFileError::Folder);
        }
        // The target has none, but a query, or what stands before a type, may be one here.
        if path.split(|byte| matches!(byte, b'/' | b'\\')).any(|segment| segment == b"." || segment == b"..") {
            return Err(FtpFileError::DotSegment);
        }
        Ok(Self { path, login })
    }
}

/// A password is printed nowhere.
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
        FtpFile::of(&Target::parse(target).unwrap())
    }

    fn path(target: &str) -> Vec<u8> {
        file(target).unwrap().path
    }

    #[test]
    fn a_path_is_relative_to_the_login_folder_and_decoded_once() {
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
            assert_eq!(String::from_utf8(path(target)).unwrap(), expected, "{target}");
        }
        assert_eq!(path("ftp://h.example/%E9.gz"), b"\xe9.gz", "names need not be UTF-8");
    }

    #[test]
    fn what_is_no_file_or_would_be_a_command_is_refused() {
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
            ("ftp://h.example/x%0D%0ADELE%20y.gz", FtpFileError::ControlByte),
            ("ftp://h.example/x%0ay.gz", FtpFileError::ControlByte),
            ("ftp://h.example/x%00.gz", FtpFileError::ControlByte),
            ("ftp://u%0Aser:p@h.example/x.gz", FtpFileError::ControlByte),
            ("ftp://user:p%0D@h.example/x.gz", FtpFileError::ControlByte),
        ] {
            assert_eq!(file(target), Err(error), "{target}");
        }
    }

    #[test]
    fn a_login_is_decoded_and_not_printed() {
        let file = file("ftp://us%40er:p%3Ass@h.example/x.gz").unwrap();
        let login = file.login.clone().unwrap();
        assert_eq!((login.user.as_slice(), login.password.as_slice()), (&b"us@er"[..], &b"p:ss"[..]));
        assert!(!format!("{file:?} {login:?}").contains("p:ss"));
        for target in ["ftp://h.example/x.gz", "ftp://anonymous:me%40x@h.example/x.gz"] {
            assert_eq!(FtpFile::of(&Target::parse(target).unwrap()).unwrap().login, None);
        }
    }

    #[test]
    fn a_login_can_stand_in_a_header() {
        let login = |value: &str| Login::of_authorization(value);
        let found = login("Basic dXNlcjphOmI=").unwrap();
        assert_eq!((found.user.as_slice(), found.password.as_slice()), (&b"user"[..], &b"a:b"[..]));
        assert!(login("basic YW5vbnltb3VzOkFSSUEyVVNFUkA=").unwrap().is_anonymous());
        for value in ["", "Basic", "Basic ?", "Basic dXNlcg==", "Bearer dXNlcjphOmI=", "Basic dXNlcjphCmI="] {
            assert!(login(value).is_none(), "{value}");
        }
    }
}
