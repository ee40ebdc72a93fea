//! Checks whether a file is complete by its own format.
//!
//! A body without a length may end anywhere. Compressed formats mark their end, so that a truncated
//! file is distinguishable from a complete one. Each format has a file. The checks read a staged
//! file and use bounded memory. They know no origin. The main function is [`find_format_end`].

mod bzip2;
mod gzip;
mod reader;
mod xz;
mod zip;
mod zstd;

use std::fs::File;
use std::io;

use reader::FileReader;

/// Number of first bytes that distinguish the formats.
const MAGIC_BYTES: usize = 6;

/// Result of looking for the end that a format marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatEnd {
    /// The file ends where its format ends. Zeros may follow.
    Complete,
    /// The file has a known format and is truncated.
    Missing,
    /// The file has no known format, or other bytes follow its end.
    Unknown,
}

/// Returns whether the first `size_bytes` of a file end where their format ends. The first bytes
/// decide on the format. Blocks.
///
/// # Errors
/// The error of the disk.
pub fn find_format_end(file: &File, size_bytes: u64) -> io::Result<FormatEnd> {
    let reader = FileReader::new(file, size_bytes);
    let magic = reader.read_up_to(0, MAGIC_BYTES)?;
    if magic.starts_with(&gzip::MAGIC) {
        gzip::find_end(&reader)
    } else if magic.starts_with(&xz::MAGIC) {
        xz::find_end(&reader)
    } else if magic.starts_with(bzip2::MAGIC) {
        bzip2::find_end(&reader)
    } else if magic.starts_with(zip::MAGIC) {
        zip::find_end(&reader)
    } else if zstd::is_frame_start(&magic) {
        zstd::find_end(&reader)
    } else {
        Ok(FormatEnd::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    /// `xz` of two blocks.
    const XZ: &str = "fd377a585a0000016922de360200210116000000742fe5a3e0001f00155d0034\
        1949ee8de9560ac167dfc9e729fbdd8ee28c700000000000c2eccb9402002101\
        16000000742fe5a301001f7762f0f3cb4d764dc7072051159a0f89f2c6dacae3\
        44bb311245fd6f84df9ad700e094336e00022d2034200000bade4acf3e300d8b\
        020000000001595a";
    /// `bzip2` whose end is not at a byte boundary.
    const BZIP2: &str = "425a6839314159265359dd45def100000254c881002000100000a00400000250\
        00200031064c410066a51c90d9e2ee48a70a121ba8bbde20";
    /// `bzip2` of nothing. The checksum is zero.
    const BZIP2_EMPTY: &str = "425a683917724538509000000000";
    /// `zip` with one member.
    const ZIP: &str = "504b030414000000080029397d5d0088590b0b000000180000000100000061cb\
        48cdc9c957c84027b900504b0102140314000000080029397d5d0088590b0b00\
        000018000000010000000000000000000000a4810000000061504b0506000000\
        00010001002f0000002a0000000000";
    /// `zstd` with a checksum.
    const ZSTD: &str = "28b52ffd2440b50100f40268656c6c6f200a7942bdf22106f0847762f0f3cb4d\
        764dc7072051159a0f89f2c6dacae344bb311245fd6f84df9ad70100994b11e6\
        50c774";
    /// `zstd --no-check`.
    const ZSTD_UNCHECKED: &str = "28b52ffd20186d00003868656c6c6f200a0100994b11";
    /// `zstd` of zeros, in a block that repeats one byte.
    const ZSTD_RLE: &str = "28b52ffd04584d00001000000100b3f30116bddbcb4f";

    fn bytes(hex: &str) -> Vec<u8> {
        hex::decode(hex).expect("a fixture is hexadecimal")
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).expect("memory takes all");
        encoder.finish().expect("memory takes all")
    }

    /// Returns a complete file of each format, but none of zip.
    fn streams() -> Vec<Vec<u8>> {
        let mut files: Vec<_> = [XZ, BZIP2, BZIP2_EMPTY, ZSTD, ZSTD_UNCHECKED, ZSTD_RLE]
            .map(bytes)
            .into();
        files.extend([gzip(b""), gzip(b"hello hello"), gzip(&vec![0; 300_000])]);
        files
    }

    fn end_of(content: &[u8]) -> FormatEnd {
        let mut file = tempfile::tempfile().expect("a file can be made");
        file.write_all(content).expect("the file can be written");
        // Space that is reserved behind the body.
        file.write_all(b"rest").expect("the file can be written");
        find_format_end(&file, content.len() as u64).expect("the file can be read")
    }

    fn commented_zip() -> Vec<u8> {
        let mut file = bytes(ZIP);
        let length_at = file.len() - 2;
        file[length_at..].copy_from_slice(&7_u16.to_le_bytes());
        file.extend_from_slice(b"comment");
        file
    }

    proptest! {
        #[test]
        fn gzip_members_end_only_at_their_ends(
            contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..4),
            zeros in 0_usize..20,
            cut in any::<prop::sample::Index>(),
        ) {
            let members: Vec<_> = contents.iter().map(|content| gzip(content)).collect();
            let file = members.concat();
            prop_assert_eq!(end_of(&file), FormatEnd::Complete);
            let padded = [&file[..], &vec![0; zeros]].concat();
            prop_assert_eq!(end_of(&padded), FormatEnd::Complete);
            let size = cut.index(file.len());
            let mut ends = members.iter().scan(0, |end, member| {
                *end += member.len();
                Some(*end)
            });
            let is_end = ends.any(|end| end == size);
            prop_assert_eq!(end_of(&file[..size]) == FormatEnd::Complete, is_end);
        }

        #[test]
        fn any_bytes_are_checked_without_panic(
            magic in prop::sample::select(vec![
                &b"\x1f\x8b\x08"[..], b"\xfd7zXZ\0", b"BZh9", b"PK", b"\x28\xb5\x2f\xfd", b"",
            ]),
            rest in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            end_of(&[magic, &rest].concat());
        }
    }

    #[test]
    fn complete_file_ends() {
        for file in streams() {
            assert_eq!(end_of(&file), FormatEnd::Complete, "{file:x?}");
        }
        assert_eq!(end_of(&bytes(ZIP)), FormatEnd::Complete);
        assert_eq!(end_of(&commented_zip()), FormatEnd::Complete);
        let empty_zip = [&b"PK\x05\x06"[..], &[0; 18]].concat();
        assert_eq!(end_of(&empty_zip), FormatEnd::Complete);
    }

    #[test]
    fn no_prefix_of_a_file_ends() {
        for file in streams().into_iter().chain([bytes(ZIP), commented_zip()]) {
            for size in 0..file.len() {
                let end = end_of(&file[..size]);
                assert_ne!(end, FormatEnd::Complete, "{size} of {file:x?}");
                assert!(size < 6 || end == FormatEnd::Missing, "{size} of {file:x?}");
            }
        }
    }

    #[test]
    fn concatenated_files_end() {
        for file in streams() {
            let twice = [&file[..], &file].concat();
            assert_eq!(end_of(&twice), FormatEnd::Complete, "{file:x?}");
            let cut = &twice[..twice.len() - 1];
            assert_ne!(end_of(cut), FormatEnd::Complete, "{file:x?}");
        }
    }

    #[test]
    fn zeros_may_follow_the_end() {
        for file in streams() {
            for count in [4, 512, 100_000] {
                let padded = [&file[..], &vec![0; count]].concat();
                assert_eq!(end_of(&padded), FormatEnd::Complete, "{count}, {file:x?}");
            }
        }
    }

    #[test]
    fn other_bytes_may_not_follow_the_end() {
        for file in streams().into_iter().chain([bytes(ZIP), commented_zip()]) {
            for rest in [&b"<html>"[..], b"\0\0\0\0more", b"x"] {
                let longer = [&file[..], rest].concat();
                assert_ne!(end_of(&longer), FormatEnd::Complete, "{file:x?}");
            }
        }
    }

    #[test]
    fn skippable_frame_counts_to_zstd_file() {
        let skippable = b"\x5f\x2a\x4d\x18\x03\0\0\0abc";
        let file = [&skippable[..], &bytes(ZSTD), skippable].concat();
        assert_eq!(end_of(&file), FormatEnd::Complete);
        assert_eq!(end_of(&file[..file.len() - 1]), FormatEnd::Missing);
        let wrong = [&bytes(ZSTD)[..], b"\xff\xff\xff\xff"].concat();
        assert_eq!(end_of(&wrong), FormatEnd::Unknown);
    }

    #[test]
    fn truncation_behind_nested_zip_is_found() {
        // A stored member that is a zip file itself, and nothing behind it.
        let mut header = bytes(ZIP)[..30].to_vec();
        header.extend_from_slice(b"i");
        let cut = [&header[..], &bytes(ZIP)].concat();
        assert_eq!(end_of(&cut), FormatEnd::Missing);
    }

    #[test]
    fn other_formats_are_unknown() {
        for content in [&b""[..], b"plain text", b"BZ", b"\x7fELF\x02\x01"] {
            assert_eq!(end_of(content), FormatEnd::Unknown);
        }
        // Bytes that begin like gzip and are not a deflate stream.
        assert_eq!(
            end_of(b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xff\xff\xff"),
            FormatEnd::Unknown
        );
    }
}
