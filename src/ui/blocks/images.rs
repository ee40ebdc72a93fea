//! The block of container images.

use maud::{Markup, html};

use crate::ui::shown;
use crate::ui::snapshot::{ShownImage, Snapshot};

/// Platforms of an image that are shown.
const MAX_PLATFORMS: usize = 10;

pub fn images(snapshot: &Snapshot) -> Markup {
    let Some(images) = &snapshot.images else {
        return html! { p.note { "The known tags cannot be read." } };
    };
    html! {
        @if images.newest.is_empty() {
            p.note { "No container image is known." }
        } @else {
            p.note {
                (shown::count(images.total as u64)) " tags are known. Shown are those that were "
                "checked last."
            }
            div.scroll { table {
                thead { tr {
                    th { "Image" } th { "Digest" } th { "Platforms and sizes" } th { "Checked" }
                } }
                tbody { @for image in &images.newest { (image_row(image)) } }
            } }
        }
    }
}

fn image_row(image: &ShownImage) -> Markup {
    let hex = image.digest.split_once(':').map_or("", |(_, hex)| hex);
    let more = image.platforms.len().saturating_sub(MAX_PLATFORMS);
    html! { tr {
        td.url { bdi { (shown::visible(&image.name)) } }
        td { (shown::digest(hex)) }
        td {
            @if image.platforms.is_empty() { "not stored" }
            @for (at, (platform, size)) in image.platforms.iter().take(MAX_PLATFORMS).enumerate() {
                @if at > 0 { br; }
                (shown::visible(platform)) " "
                @match size {
                    Some(size) => (shown::bytes(*size)),
                    None => "not stored",
                }
            }
            @if more > 0 { br; (shown::count(more as u64)) " more" }
        }
        td { (shown::time_if_any(image.checked_at)) }
    } }
}
