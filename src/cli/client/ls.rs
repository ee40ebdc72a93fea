//! `millpond ls`: the stored files of a gateway, filtered, with totals.
//!
//! The main type is [`Ls`].

use reqwest::Method;
use serde_json::{Value, json};

use super::api_client::ApiClient;
use super::failure::Failure;
use super::ls_images::list_images;
use super::table::{ListForm, SizeForm, counted, text};
use crate::cli::gateway_args::GatewayArgs;
use crate::cli::output::{OutputForm, Reader, print_line};
use crate::model::{HumanDuration, Sha256};

/// Orders of the list.
const SORTS: [&str; 8] = [
    "url",
    "-url",
    "size",
    "-size",
    "first_seen",
    "-first_seen",
    "last_used",
    "-last_used",
];

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond ls
  millpond ls --sort=-size --pinned
  millpond ls --host example.org --class immutable
  millpond ls --prefix https://example.org/pub/ --older-than 90days --json
  millpond ls --bytes | sort -k2 -n
  millpond ls --total
  millpond ls --images --name mill/app

A terminal shows a header, short digests, ages and totals. A pipe gets whole digests and dates, and
neither header nor totals. --json is the form for programs.")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of the command line"
)]
pub struct Ls {
    /// Only files of this host
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Only files whose URL begins with this text
    #[arg(long, value_name = "URL")]
    prefix: Option<String>,
    /// Only files whose name contains this text
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Only the files with these bytes
    #[arg(long, value_name = "HEX")]
    sha256: Option<Sha256>,
    /// Only files of this class
    #[arg(long, value_parser = ["immutable", "revalidate", "pass"])]
    class: Option<String>,
    /// Only files first stored longer ago, such as 90days
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    older_than: Option<HumanDuration>,
    /// Only files first stored since, such as 1h
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    newer_than: Option<HumanDuration>,
    /// Only pinned files
    #[arg(long)]
    pinned: bool,
    /// Order of the list; a minus sign means descending
    #[arg(long, allow_hyphen_values = true, value_parser = SORTS)]
    sort: Option<String>,
    /// Only print the totals
    #[arg(long)]
    total: bool,
    /// List container images, with the platforms and sizes that their manifests state
    #[arg(long, conflicts_with_all = ["host", "prefix", "sha256", "class", "older_than",
        "newer_than", "pinned", "sort", "total"])]
    images: bool,
    /// Only container images of this registry
    #[arg(long, value_name = "HOST", requires = "images")]
    registry: Option<String>,
    #[command(flatten)]
    sizes: SizeForm,
}

fn parse_duration(text: &str) -> Result<HumanDuration, crate::model::ParseUnitError> {
    HumanDuration::try_from(text.to_owned())
}

/// Counts of the listed files.
#[derive(Default)]
struct Totals {
    files: u64,
    pinned: u64,
    cached: u64,
    cached_bytes: u64,
}

impl Totals {
    fn add(&mut self, object: &Value) {
        self.files += 1;
        self.pinned += u64::from(object["pinned"] == true);
        if object["cached"] == true {
            self.cached += 1;
            self.cached_bytes += object["size_bytes"].as_u64().unwrap_or_default();
        }
    }

    fn line(&self, sizes: SizeForm) -> String {
        format!(
            "{}, {} of them cached with {}, {} pinned",
            counted(&json!(self.files), "file"),
            self.cached,
            sizes.total(self.cached_bytes),
            self.pinned
        )
    }

    fn document(&self) -> Value {
        json!({"total": {
            "files": self.files,
            "cached": self.cached,
            "cached_bytes": self.cached_bytes,
            "pinned": self.pinned,
        }})
    }
}

impl Ls {
    /// Runs the command.
    pub async fn run(self, gateway: &GatewayArgs, form: OutputForm) -> Result<(), Failure> {
        let filters = self.filters();
        let api = ApiClient::new(gateway, form)?;
        if self.images {
            let filters = (self.name.as_deref(), self.registry.as_deref());
            return list_images(&api, filters, self.sizes).await;
        }
        let list = ListForm::of_stdout();
        let (mut after, mut totals) = (None::<String>, Totals::default());
        if list == ListForm::Terminal && form == OutputForm::Text && !self.total {
            print_line(&format_args!(
                "{:<12}  {:>10}  {:>5}  {:>5}  {:<10}  {:<7}  URL",
                "SHA256", "SIZE", "SEEN", "USED", "CLASS", "STATE"
            ))?;
        }
        loop {
            let mut parameters: Vec<_> = filters
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            parameters.extend(after.iter().map(|after| ("after", after.as_str())));
            let page = api.call(Method::GET, "objects", &parameters).await?;
            for object in page["objects"].as_array().into_iter().flatten() {
                totals.add(object);
                let reader = match form {
                    _ if self.total => Reader::Present,
                    OutputForm::Json => print_line(object)?,
                    OutputForm::Text => print_line(&object_line(object, list, self.sizes))?,
                };
                if reader == Reader::Gone {
                    return Ok(());
                }
            }
            match page["next"].as_str() {
                Some(next) => after = Some(next.to_owned()),
                None => break,
            }
        }
        match form {
            OutputForm::Json if self.total => print_line(&totals.document())?,
            OutputForm::Text if self.total || list == ListForm::Terminal => {
                print_line(&totals.line(self.sizes))?
            }
            OutputForm::Json | OutputForm::Text => Reader::Present,
        };
        Ok(())
    }

    /// Returns filters and order as parameters of the API.
    fn filters(&self) -> Vec<(&'static str, String)> {
        let seconds = |duration: &HumanDuration| duration.0.as_secs().to_string();
        let filters = [
            ("host", self.host.clone()),
            ("prefix", self.prefix.clone()),
            ("name", self.name.clone()),
            ("sha256", self.sha256.map(|sha256| sha256.to_string())),
            ("class", self.class.clone()),
            ("pinned", self.pinned.then(|| "true".to_owned())),
            ("sort", self.sort.clone()),
            ("older_than", self.older_than.as_ref().map(seconds)),
            ("newer_than", self.newer_than.as_ref().map(seconds)),
        ];
        filters
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }
}

/// Formats a listed target as one line.
fn object_line(object: &Value, list: ListForm, sizes: SizeForm) -> String {
    let state = match (&object["pinned"], &object["cached"]) {
        (Value::Bool(true), _) => "pinned",
        (_, Value::Bool(true)) => "cached",
        _ => "evicted",
    };
    format!(
        "{}  {:>10}  {:>5}  {:>5}  {:<10}  {state:<7}  {}",
        list.digest(&object["sha256"]),
        sizes.of(&object["size_bytes"]),
        list.time(&object["first_seen"]),
        list.time(&object["last_used"]),
        text(&object["class"]),
        text(&object["url"]),
    )
}
