//! Tests of digests, pins and changed content: which bytes may be the answer.

mod adopted;
mod bogus_digests;
mod changed_content;
mod checksum_file;
mod corrupt_objects;
mod expected_digests;
mod imports;
mod path_digests;
mod pins;
mod stated_by_others;
mod stated_digests;
mod unstored_bodies;
