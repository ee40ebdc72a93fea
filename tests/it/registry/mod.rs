//! Container images below `/v2/`: names, content by digest, tags, tokens, and real clients.

mod adopted_images;
mod allowed;
mod clients;
mod content;
mod credentials;
mod denied_digests;
mod egress;
mod image_list;
mod layers_in_ranges;
mod min_age;
mod names;
mod preheat;
mod private_images;
mod pulls;
mod rate_limits;
pub mod real_registry;
mod referrers;
mod repository_logins;
mod stage;
mod tags;
mod test_image;
mod tokens;
