//! `millpond ls --images`: the container images of a gateway, with their platforms and sizes.
//!
//! The main function is [`list_images`].

use reqwest::Method;
use serde_json::Value;

use super::api_client::ApiClient;
use super::failure::Failure;
use super::table::{ListForm, SizeForm, text};
use crate::cli::output::{OutputForm, Reader, print_line};

/// Digits of a digest on a terminal.
const SHORT_DIGITS: usize = 12;

/// Prints the images whose names contain a text, of one registry or of all.
///
/// # Errors
/// [`Failure`] with the error of the gateway.
pub async fn list_images(
    api: &ApiClient,
    (name, registry): (Option<&str>, Option<&str>),
    sizes: SizeForm,
) -> Result<(), Failure> {
    let list = ListForm::of_stdout();
    if list == ListForm::Terminal && api.form == OutputForm::Text {
        print_line(&format_args!(
            "{:<SHORT_DIGITS$}  {:>10}  {:<20}  {:>7}  IMAGE",
            "DIGEST", "SIZE", "PLATFORM", "CHECKED"
        ))?;
    }
    let mut after = None::<String>;
    loop {
        let parameters = [
            ("name", name),
            ("registry", registry),
            ("after", after.as_deref()),
        ];
        let parameters: Vec<(&str, &str)> = parameters
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        let page = api.call(Method::GET, "images", &parameters).await?;
        for image in page["images"].as_array().into_iter().flatten() {
            let reader = match api.form {
                OutputForm::Json => print_line(image)?,
                OutputForm::Text => print_image(image, list, sizes)?,
            };
            if reader == Reader::Gone {
                return Ok(());
            }
        }
        match page["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => return Ok(()),
        }
    }
}

/// Prints one line for each platform.
fn print_image(image: &Value, list: ListForm, sizes: SizeForm) -> Result<Reader, Failure> {
    let unknown = Value::Null;
    let platforms = image["platforms"]
        .as_array()
        .filter(|platforms| !platforms.is_empty());
    let platforms: Vec<&Value> = match platforms {
        Some(platforms) => platforms.iter().collect(),
        None => vec![&unknown],
    };
    let mut reader = Reader::Present;
    for platform in platforms {
        let digest = match platform["digest"].as_str() {
            Some(digest) => digest,
            None => text(&image["digest"]),
        };
        let (_, hex) = digest.split_once(':').unwrap_or(("", digest));
        let hex = match list {
            ListForm::Terminal => hex.get(..SHORT_DIGITS).unwrap_or(hex),
            ListForm::Pipe => hex,
        };
        let size = match &platform["size_bytes"] {
            Value::Null => "-".to_owned(),
            size => sizes.of(size),
        };
        reader = print_line(&format_args!(
            "{hex}  {size:>10}  {:<20}  {:>7}  {}",
            platform["platform"].as_str().unwrap_or("-"),
            list.time(&image["checked"]),
            text(&image["name"]),
        ))?;
    }
    Ok(reader)
}
