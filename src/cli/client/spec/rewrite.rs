//! `millpond spec rewrite`: puts the gateway in front of all URLs of specs, or removes it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::found::SpecArgs;
use super::list::{tag, unresolved_text};
use super::whole_write::{ReplaceError, Replacement, replace_files};
use crate::cli::client::failure::Failure;
use crate::cli::exit::FailureCode;
use crate::cli::gateway_args::{DEFAULT_GATEWAY, GatewayArgs};
use crate::cli::output::{OutputForm, notice, print_line};
use crate::spec::{RewriteOutcome, Rewritten, rewrite_sources, undo_rewrite};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond spec rewrite specs/ --gateway https://sources.example.org
  millpond spec rewrite x.spec --gateway https://sources.example.org --check
  millpond spec rewrite x.spec --gateway https://sources.example.org --undo

Only the bytes in front of a URL change, and macros stay. If a spec cannot be read or written, no
spec is changed. The exit code is 1 if a URL is not as it shall be.")]
pub struct RewriteSpecs {
    #[command(flatten)]
    specs: SpecArgs,
    /// Remove the gateway from all URLs
    #[arg(long)]
    undo: bool,
    /// Change nothing, and report the URLs that are not as they shall be
    #[arg(long)]
    check: bool,
}

/// Specs of one command.
struct RewritePlan {
    form: OutputForm,
    is_check: bool,
    changed: Vec<Replacement>,
    /// Paths of all specs without symbolic links.
    seen: BTreeSet<PathBuf>,
    changed_urls: usize,
    /// URLs that cannot be rewritten.
    left_urls: usize,
}

impl RewriteSpecs {
    /// Runs the command.
    pub fn run(self, gateway: &GatewayArgs, form: OutputForm) -> Result<(), Failure> {
        let url = gateway
            .url()
            .map_err(|error| Failure::usage(error.to_string()))?;
        let url = url.map_or_else(|| DEFAULT_GATEWAY.to_owned(), |url| url.to_string());
        let mut found = self.specs.find(form)?;
        let options = found.options.clone();
        let mut plan = RewritePlan {
            form,
            is_check: self.check,
            changed: Vec::new(),
            seen: BTreeSet::new(),
            changed_urls: 0,
            left_urls: 0,
        };
        found.for_each(|path, bytes, _| {
            let rewritten = if self.undo {
                undo_rewrite(bytes, &url, &options)
            } else {
                rewrite_sources(bytes, &url, &options)
            };
            let rewritten = rewritten.map_err(|error| Failure::failed(error.to_string()))?;
            plan.add(path, bytes, rewritten)
        })?;
        if found.problems.count > 0 {
            let text = "no spec was changed, as not all could be read";
            return Err(Failure::new(FailureCode::Failed, text));
        }
        plan.finish()
    }
}

impl RewritePlan {
    fn add(&mut self, path: &Path, old: &[u8], new: Rewritten) -> Result<(), Failure> {
        let real_path = fs::canonicalize(path)?;
        if !self.seen.insert(real_path.clone()) {
            // Two names of one file.
            return Ok(());
        }
        for (source, outcome) in &new.sources {
            let problem = match outcome {
                RewriteOutcome::Unchanged => continue,
                RewriteOutcome::Changed => {
                    self.changed_urls += 1;
                    self.is_check.then(|| "is not as it shall be".to_owned())
                }
                RewriteOutcome::Unresolved => Some(unresolved_text(source)),
                RewriteOutcome::NoPlace => {
                    Some("a macro expands to this line; change the macro by hand".to_owned())
                }
            };
            self.left_urls += usize::from(*outcome != RewriteOutcome::Changed);
            let word = match outcome {
                RewriteOutcome::Changed if self.is_check => "to_change",
                RewriteOutcome::Changed => "changed",
                _ => "left",
            };
            let (path, tag) = (path.display().to_string(), tag(source));
            match (self.form, problem) {
                (OutputForm::Json, problem) => drop(print_line(&json!({
                    "spec": path,
                    "line": source.line,
                    "tag": tag,
                    "raw": source.raw,
                    "state": word,
                    "reason": problem,
                }))?),
                (OutputForm::Text, Some(problem)) => {
                    print_line(&format_args!("{path}:{}  {tag}  {problem}", source.line))?;
                }
                (OutputForm::Text, None) => {}
            }
        }
        if new.bytes != old {
            self.changed.push(Replacement {
                path: real_path,
                old: old.to_owned(),
                new: new.bytes,
            });
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Failure> {
        let (urls, specs) = (self.changed_urls, self.changed.len());
        if self.is_check {
            return if urls + self.left_urls == 0 {
                Ok(())
            } else {
                Err(Failure::silent(FailureCode::Failed))
            };
        }
        replace_files(&self.changed).map_err(|(path, error)| {
            let end = match error {
                ReplaceError::NotUndone(..) => "",
                _ => "; no spec was changed",
            };
            Failure::failed(format!("{}: {error}{end}", path.display()))
        })?;
        if self.form == OutputForm::Text {
            notice(&format_args!(
                "millpond: {urls} URLs in {specs} specs changed, {} left\n",
                self.left_urls
            ));
        }
        if self.left_urls == 0 {
            Ok(())
        } else {
            Err(Failure::silent(FailureCode::Failed))
        }
    }
}
