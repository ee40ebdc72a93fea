//! The files of jobs, below `state_dir/jobs/<id>/`.
//!
//! `order.json` and `targets` are written once, before the job is listed. `results` gets a line for
//! each target that is done, and is not synced: after a power cut, the last targets are worked on
//! again. `end.json` is the last file. Everything here blocks. The main type is [`JobFolder`].

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::job::{JobId, JobOrder, JobSpec, JobView, MAX_TARGETS};
use super::progress::{Progress, TargetResult};
use crate::model::WantedFile;

/// Version of the files. Jobs of later versions are not listed.
const VERSION: u32 = 1;

const DRAFT_PREFIX: &str = ".draft-";

/// Targets may have secrets in their queries, so only the user of the service reads them.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// The folder of all jobs.
#[derive(Debug, Clone)]
pub struct JobFolder {
    root: PathBuf,
}

/// The file `order.json`.
#[derive(Serialize, Deserialize)]
struct OrderFile {
    version: u32,
    #[serde(flatten)]
    spec: JobSpec,
}

impl JobFolder {
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Reads all jobs, and removes what was never listed. A job that cannot be read is logged and
    /// stays on disk.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn load(&self) -> io::Result<Vec<JobView>> {
        let mut jobs = Vec::new();
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(jobs),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(DRAFT_PREFIX) {
                if let Err(error) = fs::remove_dir_all(entry.path()) {
                    tracing::warn!(%name, %error, "the rest of a job was not removed");
                }
            } else if let Ok(id) = name.parse() {
                match self.load_job(&id) {
                    Ok(job) => jobs.push(job),
                    Err(error) => tracing::warn!(%id, %error, "a job on disk cannot be read"),
                }
            }
        }
        Ok(jobs)
    }

    fn load_job(&self, id: &JobId) -> io::Result<JobView> {
        let OrderFile { version, spec } = read_json(&self.file(id, "order.json"))?;
        if version != VERSION {
            return Err(io::Error::other("the job belongs to another version"));
        }
        let progress = match read_json::<Progress>(&self.file(id, "end.json")) {
            Ok(end) if end.state.has_ended() => end,
            Ok(_) => return Err(io::Error::other("end.json has no state of an ended job")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut progress = Progress::pending();
                for result in self.results(id)? {
                    progress.add(&result);
                }
                progress
            }
            Err(error) => return Err(error),
        };
        Ok(JobView {
            id: id.clone(),
            spec,
            progress,
        })
    }

    /// Writes a new job. It appears complete or not at all, also after a power cut.
    ///
    /// # Errors
    /// If the disk cannot be written.
    pub fn create(&self, job: &JobView, order: &JobOrder) -> io::Result<()> {
        let id = &job.id;
        let draft = self.root.join(format!("{DRAFT_PREFIX}{id}"));
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(FOLDER_MODE).create(&draft)?;
        let order_file = OrderFile {
            version: VERSION,
            spec: job.spec.clone(),
        };
        let lines: String = order.files.iter().map(line_of).collect();
        let written = write_synced(&draft.join("order.json"), &to_json(&order_file)?)
            .and_then(|()| write_synced(&draft.join("targets"), lines.as_bytes()))
            .and_then(|()| sync_folder(&draft))
            .and_then(|()| fs::rename(&draft, self.root.join(id.as_str())))
            .and_then(|()| sync_folder(&self.root));
        if written.is_err() {
            // The next start removes what is left.
            drop(fs::remove_dir_all(&draft));
        }
        written
    }

    /// Returns the targets of a job.
    ///
    /// # Errors
    /// If the file cannot be read or is damaged.
    pub fn targets(&self, id: &JobId) -> io::Result<Vec<WantedFile>> {
        let text = fs::read_to_string(self.file(id, "targets"))?;
        let mut files: Vec<WantedFile> = Vec::new();
        for line in text.lines() {
            // A target with several digests has a line for each of them.
            let file = WantedFile::parse_line(line).map_err(io::Error::other)?;
            match files.last_mut() {
                Some(last) if last.url == file.url => {
                    last.expected.extend(file.expected.iter().cloned());
                }
                _ => files.push(file),
            }
        }
        if files.len() > MAX_TARGETS {
            return Err(io::Error::other("the job has too many targets"));
        }
        Ok(files)
    }

    /// Returns the results so far, one for each target. A line that a crash cut off is ignored.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn results(&self, id: &JobId) -> io::Result<Vec<TargetResult>> {
        let file = match File::open(self.file(id, "results")) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let (mut results, mut seen) = (Vec::new(), HashSet::new());
        for line in BufReader::new(file).split(b'\n').take(2 * MAX_TARGETS) {
            let result = serde_json::from_slice::<TargetResult>(&line?);
            results.extend(result.ok().filter(|result| seen.insert(result.at)));
        }
        Ok(results)
    }

    /// Opens the results for appending.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open_results(&self, id: &JobId) -> io::Result<File> {
        let mut file = options().append(true).open(self.file(id, "results"))?;
        // Ends a line that a crash cut off.
        if file.metadata()?.len() > 0 {
            file.write_all(b"\n")?;
        }
        Ok(file)
    }

    /// Records the end of a job.
    ///
    /// # Errors
    /// If the disk cannot be written.
    pub fn end(&self, id: &JobId, progress: &Progress) -> io::Result<()> {
        let draft = self.file(id, "end.draft");
        write_synced(&draft, &to_json(progress)?)?;
        fs::rename(&draft, self.file(id, "end.json"))?;
        sync_folder(&self.root.join(id.as_str()))
    }

    /// Removes a job.
    ///
    /// # Errors
    /// If the disk cannot be written.
    pub fn remove(&self, id: &JobId) -> io::Result<()> {
        let draft = self.root.join(format!("{DRAFT_PREFIX}{id}"));
        fs::rename(self.root.join(id.as_str()), &draft)?;
        fs::remove_dir_all(draft)
    }

    fn file(&self, id: &JobId, name: &str) -> PathBuf {
        self.root.join(id.as_str()).join(name)
    }
}

/// Returns the lines of a target: one, or one for each digest.
fn line_of(file: &WantedFile) -> String {
    let url = file.url.as_str();
    if file.expected.is_empty() {
        return format!("{url}\n");
    }
    let line = |digest| format!("{digest} {url}\n");
    file.expected.iter().map(line).collect()
}

fn to_json(value: &impl Serialize) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(value)?)
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).mode(FILE_MODE);
    options
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = options().write(true).truncate(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
