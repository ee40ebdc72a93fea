//! `millpond ensure`: has a gateway fetch and store files and images, without a download.
//!
//! The main type is [`Ensure`].

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::answer_head::{AnswerHead, CarriedPart, Route};
use super::api_client::ApiClient;
use super::batch::run_all;
use super::failure::Failure;
use super::file_request::{GatewayRequest, RequestedPart, active_record};
use super::image::{ensure_image_of, image_name};
use super::progress::ProgressBars;
use super::table::text;
use super::url_list::{PlatformArgs, UrlArgs};
use crate::cli::gateway_args::GatewayArgs;
use crate::cli::output::{OutputForm, notice};
use crate::model::{Algorithm, Digest, ExpectedDigests, Hasher, Sha256, WantedFile};

/// How often the gateway is asked for the record of a file whose last byte has just arrived.
const MAX_POLLS: usize = 100;

/// Interval between these requests.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond ensure https://example.org/x-1.0.tar.gz
  millpond ensure -i list.txt --jobs 16 --json
  millpond ensure --lockfile package-lock.json
  millpond ensure docker://registry.example.org/mill/app:1.0 --platform linux/amd64
  spectool -l x.spec | awk '/^Source/ { print $2 }' | millpond ensure -")]
pub struct Ensure {
    #[command(flatten)]
    files: UrlArgs,
    #[command(flatten)]
    images: PlatformArgs,
}

impl Ensure {
    /// Runs the command.
    pub async fn run(self, gateway: &GatewayArgs, form: OutputForm) -> Result<(), Failure> {
        let files = self.files.files_and_images()?;
        for file in files.iter().filter(|file| file.url.is_image()) {
            image_name(file)?;
        }
        let api = ApiClient::new(gateway, form)?;
        let bars = ProgressBars::new(files.len(), form);
        let headers = self.files.headers();
        let (api, headers, shown) = (&api, &headers, &bars);
        let platforms = &self.images.platform;
        run_all(&files, self.files.jobs, &bars, form, |file| async move {
            if file.url.is_image() {
                Box::pin(ensure_image_of(api, headers, file, platforms, shown)).await
            } else {
                ensure_file(api, headers, file, shown).await
            }
        })
        .await
    }
}

/// Has the gateway store a file, and prints its digest.
///
/// # Errors
/// [`Failure`] with the error of the gateway.
pub async fn ensure_file(
    api: &ApiClient,
    headers: &HeaderMap,
    file: &WantedFile,
    bars: &ProgressBars,
) -> Result<(), Failure> {
    let bar = bars.begin(&file.url.to_string());
    let request = GatewayRequest { api, file, headers };
    // The gateway sends the last byte only after it has verified the whole file.
    let mut response = request.send(RequestedPart::LastByte).await?;
    if AnswerHead::of(&response).route == Route::PastCache {
        // A range of a file that may change is not stored. The whole file may be.
        response = request.send(RequestedPart::NoRange).await?;
    }
    let route = AnswerHead::of(&response).route;
    let ensured = match route {
        Route::PastCache => store_as_operator(&request).await?,
        Route::Cache => receive(&request, response, |count| bar.add(count)).await?,
    };
    let despite_directives = route == Route::PastCache;
    for _ in 0..MAX_POLLS {
        let history = request.history().await?;
        if let Some(stored) = history
            .as_ref()
            .and_then(|history| ensured.find_in(history))
        {
            drop(bar);
            if despite_directives && api.form == OutputForm::Text {
                let line = format!(
                    "millpond: {}: stored although its origin forbids it\n",
                    file.url
                );
                bars.suspend(|| notice(&line));
            }
            match api.form {
                OutputForm::Json => bars.print_line(&json!({
                    "url": file.url.to_string(),
                    "sha256": stored["sha256"],
                    "size_bytes": stored["size_bytes"],
                    "record": stored,
                    "despite_directives": despite_directives,
                }))?,
                OutputForm::Text => bars.print_line(&format_args!(
                    "{}  {}",
                    stored["sha256"].as_str().unwrap_or_default(),
                    file.url
                ))?,
            };
            return Ok(());
        }
        sleep(POLL_INTERVAL).await;
    }
    Err(Failure::failed("the gateway has not stored this URL"))
}

/// Reads a response, and returns which bytes the gateway has stored or is storing.
async fn receive<'a>(
    request: &GatewayRequest<'a>,
    mut response: Response,
    count_bytes: impl Fn(usize),
) -> Result<Ensured<'a>, Failure> {
    let head = AnswerHead::of(&response);
    let is_whole = CarriedPart::of(&response) == CarriedPart::Whole;
    let expected = &request.file.expected;
    let mut hasher = Hasher::new(expected);
    if response.status() != StatusCode::RANGE_NOT_SATISFIABLE {
        while let Some(chunk) = response.chunk().await? {
            hasher.update(&chunk);
            count_bytes(chunk.len());
        }
    }
    Ok(match head.repr_sha256 {
        Some(sha256) => Ensured::Bytes(sha256),
        None if is_whole => Ensured::Bytes(hasher.finish().sha256),
        None if expected.is_empty() => Ensured::Answer,
        None => Ensured::Expected(expected),
    })
}

/// Has a URL stored that the gateway passes through for clients, as a job does. The gateway stores
/// it for an operator, unless its class is `pass`.
async fn store_as_operator(request: &GatewayRequest<'_>) -> Result<Ensured<'static>, Failure> {
    // Additional fields may be credentials, and a response to them is not for other clients.
    if !request.api.has_token() || !request.headers.is_empty() {
        return Err(Failure::failed(
            "the gateway passes this URL through and does not store it; millpond explain and \
             millpond incidents show why",
        ));
    }
    let refreshed = request.refresh().await?;
    let sha256 = text(&refreshed["sha256"]).parse();
    let sha256 = sha256.map_err(|_| Failure::failed("the gateway has sent no digest"))?;
    Ok(Ensured::Bytes(sha256))
}

/// The file that the gateway has just sent, as far as the response identifies it.
enum Ensured<'a> {
    Bytes(Sha256),
    /// The bytes have these digests.
    Expected(&'a ExpectedDigests),
    /// The bytes that answer for the target.
    Answer,
}

impl Ensured<'_> {
    /// Returns the record, or else the response of class `revalidate`, that has the bytes.
    fn find_in<'a>(&self, history: &'a Value) -> Option<&'a Value> {
        let list = |name: &str| history[name].as_array().into_iter().flatten();
        let mut stored = list("records").chain(list("observations"));
        match self {
            Self::Bytes(sha256) => {
                let sha256 = sha256.to_string();
                stored.find(|stored| stored["sha256"] == *sha256)
            }
            Self::Expected(expected) => stored.find(|stored| {
                let mut expected = expected.iter();
                expected.all(|digest| has_digest(stored, digest))
            }),
            Self::Answer => active_record(history).or_else(|| history["observations"].get(0)),
        }
    }
}

/// Whether a record or response has a digest. Only the SHA-256 of a response is on record, and the
/// gateway has compared the others.
fn has_digest(stored: &Value, expected: &Digest) -> bool {
    match (expected.algorithm(), stored.get("digests")) {
        (Algorithm::Sha256, _) => stored["sha256"] == *expected.hex(),
        (algorithm, Some(digests)) => digests[algorithm.as_str()] == *expected.hex(),
        (_, None) => true,
    }
}
