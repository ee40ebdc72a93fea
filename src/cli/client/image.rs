//! Container images for `millpond ensure`, through the endpoint `/v2/` of the gateway.
//!
//! The main function is [`ensure_image_of`].

use std::time::Duration;

use reqwest::header::{ACCEPT, CACHE_CONTROL, HeaderMap, HeaderValue, RANGE};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::answer_head::{AnswerHead, Route};
use super::api_client::ApiClient;
use super::failure::Failure;
use super::progress::{FileBar, ProgressBars};
use super::table::text;
use crate::cli::exit::FailureCode;
use crate::cli::output::OutputForm;
use crate::model::{Digest, ExpectedDigests, Hasher, MANIFEST_TYPES, WantedFile, sanitize_line};
use crate::registry::{
    Descriptor, EnsureImageError, EnsuredImage, ImageFault, ImageName, ImageParts, ImageReference,
    MAX_MANIFEST_BYTES, Platform, StoredPart, ensure_image, parse_digest,
};

/// How often the gateway is asked for a part whose last byte has just arrived.
const MAX_POLLS: usize = 100;

/// Interval between these requests.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Bound on the document of an error, in bytes.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// The parts of one image at a gateway.
struct GatewayParts<'a> {
    api: &'a ApiClient,
    headers: &'a HeaderMap,
    name: &'a ImageName,
    bar: FileBar,
}

/// Has the gateway store an image for these platforms, or for all if there are none, and prints its
/// digest.
///
/// # Errors
/// [`Failure`] with the error of the gateway.
pub async fn ensure_image_of(
    api: &ApiClient,
    headers: &HeaderMap,
    file: &WantedFile,
    platforms: &[Platform],
    bars: &ProgressBars,
) -> Result<(), Failure> {
    let name: ImageName = image_name(file)?;
    let parts = GatewayParts {
        api,
        headers,
        name: &name,
        bar: bars.begin(&name.to_string()),
    };
    let ensured = ensure_image(&parts, &name.reference, platforms).await;
    let image = ensured.map_err(failure_of_part)?;
    drop(parts);
    match api.form {
        OutputForm::Json => bars.print_line(&document_of(&name, &image))?,
        OutputForm::Text => bars.print_line(&format_args!("{}  {name}", image.digest.hex()))?,
    };
    Ok(())
}

/// Parses the name of an image.
///
/// # Errors
/// [`Failure`] of usage.
pub fn image_name(file: &WantedFile) -> Result<ImageName, Failure> {
    if !file.expected.is_empty() {
        let text = "an image has its digest in its name: docker://HOST/NAME@sha256:HEX";
        return Err(Failure::usage(text));
    }
    let name = file.url.as_str().parse::<ImageName>();
    name.map_err(|error| Failure::usage(format!("{}: {error}", file.url)))
}

fn document_of(name: &ImageName, image: &EnsuredImage) -> Value {
    json!({
        "url": name.to_string(),
        "digest": image.digest.to_string(),
        "platforms": image.platforms,
        "manifests": image.manifests,
        "blobs": image.blobs,
        "size_bytes": image.size_bytes,
        "fetched_bytes": image.fetched_bytes,
    })
}

/// Returns the failure for a part, with the exit code of its own failure.
fn failure_of_part(error: EnsureImageError<Failure>) -> Failure {
    match error {
        EnsureImageError::Part { part, error } => {
            Failure::new(error.code, format!("{part}: {}", error.text))
        }
        EnsureImageError::Image(fault) => {
            let code = match fault {
                ImageFault::NoPlatform { .. } => FailureCode::NotFound,
                ImageFault::Manifest { .. } | ImageFault::TooManyParts => FailureCode::Failed,
            };
            Failure::new(code, fault.to_string())
        }
    }
}

impl GatewayParts<'_> {
    async fn get(&self, part: &str, fields: &[Field]) -> Result<Response, Failure> {
        let mut headers = self.headers.clone();
        headers.insert(ACCEPT, HeaderValue::from_static(MANIFEST_TYPES));
        for field in fields {
            match field {
                Field::LastByte => headers.insert(RANGE, HeaderValue::from_static("bytes=-1")),
                Field::StoredOnly => {
                    headers.insert(CACHE_CONTROL, HeaderValue::from_static("only-if-cached"))
                }
            };
        }
        let ImageName {
            registry,
            repository,
            ..
        } = self.name;
        let path = format!("v2/{repository}/{part}?ns={registry}");
        self.api.get(&path, headers).await
    }

    /// Waits until a part that the gateway has just sent is stored.
    async fn wait_stored(&self, part: &str) -> Result<(), Failure> {
        for _ in 0..MAX_POLLS {
            let fields = [Field::LastByte, Field::StoredOnly];
            let response = self.get(part, &fields).await?;
            if response.status() != StatusCode::GATEWAY_TIMEOUT {
                return check(response).await.map(drop);
            }
            sleep(POLL_INTERVAL).await;
        }
        Err(Failure::failed("the gateway has not stored it"))
    }
}

/// Header field of a request for a part.
enum Field {
    LastByte,
    StoredOnly,
}

impl ImageParts for GatewayParts<'_> {
    type Error = Failure;

    async fn manifest(
        &self,
        reference: &ImageReference,
    ) -> Result<StoredPart<(Digest, Vec<u8>)>, Failure> {
        let response = check(self.get(&format!("manifests/{reference}"), &[]).await?).await?;
        let is_new = !is_hit(&response)?;
        let stated = response.headers().get("docker-content-digest");
        let stated = stated.and_then(|value| value.to_str().ok());
        let stated = stated.and_then(|text| parse_digest(text).ok());
        let digest = match reference {
            ImageReference::Digest(digest) => digest.clone(),
            ImageReference::Tag(_) => {
                stated.ok_or_else(|| Failure::failed("the gateway has stated no digest"))?
            }
        };
        let bytes = read(response, MAX_MANIFEST_BYTES).await?;
        let mut hasher = Hasher::new(&ExpectedDigests::from_iter([digest.clone()]));
        hasher.update(&bytes);
        let expected = [digest.clone()].into_iter().collect();
        if hasher.finish().first_mismatch(&expected).is_some() {
            let text = format!("the gateway has sent other bytes than those of {digest}");
            return Err(Failure::new(FailureCode::Corrupt, text));
        }
        if is_new {
            self.wait_stored(&format!("manifests/{digest}")).await?;
        }
        self.bar.add(bytes.len());
        let size_bytes = bytes.len() as u64;
        Ok(StoredPart {
            content: (digest, bytes),
            size_bytes,
            fetched_bytes: if is_new { size_bytes } else { 0 },
        })
    }

    async fn blob(&self, blob: &Descriptor) -> Result<StoredPart<()>, Failure> {
        let part = format!("blobs/{}", blob.digest);
        // The gateway sends the last byte only after it has verified the whole blob.
        let response = check(self.get(&part, &[Field::LastByte]).await?).await?;
        let is_new = !is_hit(&response)?;
        read(response, 1).await?;
        if is_new {
            self.wait_stored(&part).await?;
        }
        self.bar
            .add(usize::try_from(blob.size_bytes).unwrap_or(usize::MAX));
        Ok(StoredPart {
            content: (),
            size_bytes: blob.size_bytes,
            fetched_bytes: if is_new { blob.size_bytes } else { 0 },
        })
    }

    async fn document(&self, blob: &Descriptor) -> Result<Vec<u8>, Failure> {
        let response = self.get(&format!("blobs/{}", blob.digest), &[]).await?;
        read(check(response).await?, MAX_MANIFEST_BYTES).await
    }
}

/// Returns whether a response came from the store.
fn is_hit(response: &Response) -> Result<bool, Failure> {
    if AnswerHead::of(response).route == Route::PastCache {
        return Err(Failure::failed(
            "the gateway passes it through and does not store it; millpond status shows whether \
             its disk works",
        ));
    }
    let status = response.headers().get("cache-status");
    let status = status.and_then(|value| value.to_str().ok());
    let mut parameters = status.unwrap_or_default().split([';', ',']);
    Ok(parameters.any(|parameter| parameter.trim() == "hit"))
}

/// Returns a successful response. An empty blob has no last byte.
async fn check(response: Response) -> Result<Response, Failure> {
    let status = response.status();
    if status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE {
        return Ok(response);
    }
    let bytes = read(response, MAX_ERROR_BYTES).await.unwrap_or_default();
    let document: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let line = sanitize_line(text(&document["errors"][0]["message"]));
    Err(Failure::from_status(status, &line))
}

async fn read(mut response: Response, max_bytes: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > max_bytes && response.status().is_success() {
            return Err(Failure::failed("the response of the gateway is too long"));
        }
    }
    Ok(bytes)
}
