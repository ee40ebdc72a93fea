//! Clients that are not run: their requests are sent with the fields that were recorded from the
//! real ones. Such a client keeps the indexes, and validates them as the real one does.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use super::mirror::Release;
use super::stage::{Machine, PackageSystem, Route, Site, follow_update};
use crate::harness::{Body, Ended, Request};

/// Way in which a client validates an index that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validation {
    /// It fetches the index again.
    None,
    Date,
    TagAndDate,
    /// It asks for the bytes behind those that it has, and for the last of them.
    TagAndTail,
}

/// Whether the name of a package's file promises the same bytes for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    Versioned,
    Constant,
}

/// A package system as its client's requests show it.
pub struct Requests {
    /// Fields of each request, without those of the connection.
    pub fields: &'static [(&'static str, &'static str)],
    pub validation: Validation,
    pub naming: Naming,
    /// Paths of the indexes in the order of the requests. One of them names the releases.
    pub indexes: &'static [&'static str],
    /// Text by which an index names a release.
    pub mark: fn(Release) -> String,
    /// Paths of the files of a release. The first one is the package.
    pub packages: fn(Release) -> Vec<String>,
    /// Content of the file at a path, for the base URL, after a release.
    pub content: fn(&str, &str, Release) -> Body,
}

/// A client that sends recorded requests.
pub struct Recorded {
    requests: Requests,
    kept: RefCell<BTreeMap<PathBuf, Kept>>,
}

/// An index as the client keeps it.
#[derive(Clone)]
struct Kept {
    body: Vec<u8>,
    last_modified: String,
    etag: String,
}

impl Recorded {
    pub fn new(requests: Requests) -> Self {
        let kept = RefCell::default();
        Self { requests, kept }
    }

    fn request(&self, machine: &Machine, path: &str) -> Request {
        let request = machine.get(path);
        let fields = self.requests.fields.iter();
        fields.fold(request, |request, (name, value)| {
            request.header(name, value)
        })
    }

    /// Fetches or validates an index, and returns its content.
    fn index(&self, machine: &Machine, path: &str) -> Vec<u8> {
        let place = machine.folder().join(path.trim_start_matches('/'));
        let kept = self.kept.borrow().get(&place).cloned();
        let mut request = self.request(machine, path);
        if let Some(kept) = &kept {
            request = condition(request, kept, self.requests.validation);
        }
        let answer = request.send();
        assert_eq!(answer.ended, Ended::Whole, "{path}");
        let body = match (answer.status, kept) {
            (304, Some(kept)) => return kept.body,
            (206, Some(kept)) => {
                let at = kept.body.len() - 1;
                assert_eq!(answer.body.first(), kept.body.last(), "{path}");
                [&kept.body[..at], &answer.body].concat()
            }
            _ => {
                answer.assert_status(200);
                answer.body.clone()
            }
        };
        let kept = Kept {
            body: body.clone(),
            last_modified: answer.wants("last-modified").to_owned(),
            etag: answer.wants("etag").to_owned(),
        };
        self.kept.borrow_mut().insert(place, kept);
        body
    }

    fn download(&self, machine: &Machine, release: Release) -> Body {
        let paths = (self.requests.packages)(release);
        let mut files = paths.iter().map(|path| {
            let answer = self.request(machine, path).send();
            answer.assert_status(200);
            assert_eq!(answer.ended, Ended::Whole, "{path}");
            Body::from(answer.body)
        });
        let package = files.next().expect("a release has a file");
        files.for_each(drop);
        package
    }
}

fn condition(request: Request, kept: &Kept, validation: Validation) -> Request {
    match validation {
        Validation::None => request,
        Validation::Date => request.header("If-Modified-Since", &kept.last_modified),
        Validation::TagAndDate => request
            .header("If-None-Match", &kept.etag)
            .header("If-Modified-Since", &kept.last_modified),
        Validation::TagAndTail => request
            .header("If-None-Match", &kept.etag)
            .range(&format!("bytes={}-", kept.body.len() - 1)),
    }
}

impl PackageSystem for Recorded {
    fn publish(&self, site: &Site, release: Release) {
        let packages = (self.requests.packages)(release);
        let indexes = self.requests.indexes.iter().map(ToString::to_string);
        for path in packages.into_iter().chain(indexes) {
            let content = (self.requests.content)(&path, &site.base, release);
            site.put(&path, &content, release);
        }
    }

    fn download_newest(&self, machine: &Machine) -> Body {
        let indexes = self.requests.indexes.iter();
        let indexes: Vec<_> = indexes.map(|path| self.index(machine, path)).collect();
        let indexes = indexes.concat();
        let index = String::from_utf8_lossy(&indexes);
        let newest = [Release::Second, Release::First]
            .into_iter()
            .find(|release| index.contains(&(self.requests.mark)(*release)));
        self.download(machine, newest.expect("the index names a release"))
    }

    fn download_first(&self, machine: &Machine) -> Option<Body> {
        Some(self.download(machine, Release::First))
    }

    fn package_path(&self, release: Release) -> String {
        (self.requests.packages)(release).swap_remove(0)
    }

    fn is_index(&self, path: &str) -> bool {
        self.requests.naming == Naming::Constant || self.requests.indexes.contains(&path)
    }
}

/// Follows an update through the proxy port, and by URL prefix.
#[track_caller]
pub fn follow(requests: fn() -> Requests) {
    for route in [Route::Proxy, Route::UrlPrefix] {
        follow_update(&Recorded::new(requests()), route);
    }
}

/// Returns the bytes of a text.
pub fn text(content: &str) -> Body {
    content.as_bytes().into()
}

/// Returns the part of a path behind its last dot or slash.
pub fn suffix(path: &str) -> &str {
    path.rsplit(['/', '.']).next().unwrap_or_default()
}

/// Returns the lines that `line` makes of this release and those before it.
pub fn lines(release: Release, line: impl Fn(&str) -> String) -> String {
    release
        .history()
        .map(|release| line(release.version()))
        .collect()
}
