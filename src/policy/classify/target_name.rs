//! Path and query of a target in the form in which classification reads them.
//!
//! The module decodes and splits. It decides nothing. Its main type is [`TargetName`].

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::forge::{ForgeRef, find_ref};
use super::suffixes::file_suffix;
use crate::model::Target;

/// Last segment that some sites append to the URL of a file.
const DOWNLOAD: &str = "/download";

/// Decoded path and query of a target, in lower case.
///
/// Origins decode a path before they look up the file, so an encoded name is the same name.
pub struct DecodedTarget {
    path: String,
    parameters: Vec<(String, String)>,
}

impl DecodedTarget {
    /// Decodes the path and the query of a target.
    pub fn new(target: &Target) -> Self {
        let mut path = decode(target.path());
        // An origin that decodes a question mark begins the query there.
        let encoded = path.find('?').map(|at| path.split_off(at));
        let encoded = encoded.as_deref().and_then(|query| query.strip_prefix('?'));
        let parameters = encoded
            .into_iter()
            .chain(target.url().query())
            .flat_map(|query| query.split(['&', ';']))
            .filter(|parameter| !parameter.is_empty())
            .map(|parameter| {
                let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
                (decode(name), decode(value))
            })
            .collect();
        // Text around a URL often ends in a full stop or a comma.
        path.truncate(path.trim_end_matches(['.', ',']).len());
        Self { path, parameters }
    }
}

fn decode(text: &str) -> String {
    let decoded = if text.contains('%') {
        percent_decode_str(text).decode_utf8_lossy()
    } else {
        Cow::Borrowed(text)
    };
    decoded.to_ascii_lowercase()
}

/// Segments of a path, and parameters of a query. A segment `download` at the end is removed.
#[derive(Clone)]
pub struct TargetName<'a> {
    /// Path up to the last segment, which is included.
    pub path: &'a str,
    /// Segments before the last one.
    pub folders: Vec<&'a str>,
    /// Last segment. Empty if the path ends in a slash.
    pub last: &'a str,
    /// Ref that selects the file.
    pub reference: Option<ForgeRef<'a>>,
    /// The last segment if it has a file suffix that is no page's.
    file: Option<&'a str>,
    /// Whether a segment `download` was removed.
    is_download: bool,
    parameters: &'a [(String, String)],
}

impl<'a> TargetName<'a> {
    /// Splits a decoded target.
    pub fn new(decoded: &'a DecodedTarget) -> Self {
        let path = decoded.path.as_str();
        let file = path
            .strip_suffix(DOWNLOAD)
            .filter(|file| !file.is_empty() && !file.ends_with('/'));
        let mut name = Self {
            path,
            folders: Vec::new(),
            last: "",
            reference: None,
            file: None,
            is_download: file.is_some(),
            parameters: &decoded.parameters,
        };
        name.set_path(file.unwrap_or(path));
        name
    }

    /// Returns the name with a shorter path, such as that of the file of a companion.
    pub fn with_path(&self, path: &'a str) -> Self {
        let mut name = self.clone();
        name.set_path(path);
        name
    }

    fn set_path(&mut self, path: &'a str) {
        let (folder, last) = path.rsplit_once('/').unwrap_or(("", path));
        self.path = path;
        self.folders = folder
            .split('/')
            .filter(|segment| !segment.is_empty())
            .collect();
        self.last = last;
        self.file = file_suffix(last).map(|_| last);
        self.reference = find_ref(&self.folders, last, self.is_download);
    }

    /// Returns the path before the last segment.
    pub fn folder(&self) -> &'a str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// Returns the last segment if it has a file suffix that is no page's.
    pub fn file(&self) -> Option<&'a str> {
        self.file
    }

    /// Returns all segments.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &'a str> + Clone {
        self.folders.iter().copied().chain([self.last])
    }

    /// Returns the parameters of the query, in order.
    pub fn parameters(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.parameters
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns the value of the first parameter with this name.
    pub fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters()
            .find_map(|(found, value)| (found == name).then_some(value))
    }
}
