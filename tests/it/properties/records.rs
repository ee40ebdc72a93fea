//! Properties of records. A record reads back as written, and a damaged one never reads as another
//! record.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::{Duration, SystemTime};

use millpond::model::{
    Acceptance, Algorithm, Answer, Digests, Key, PackedRecord, Record, RecordOrder, RecordSet,
    RecordSource, Sha256, Standing, StoredHeaders, Target,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::spellings::parts;
use super::{CASES, cases};

fn digests() -> impl Strategy<Value = Digests> {
    let others = [
        (Algorithm::Md5, 16),
        (Algorithm::Sha1, 20),
        (Algorithm::Sha512, 64),
    ];
    let hex = |bytes: usize| vec(any::<u8>(), bytes).prop_map(hex::encode);
    let [md5, sha1, sha512] = others
        .map(|(algorithm, bytes)| option::of(hex(bytes).prop_map(move |hex| (algorithm, hex))));
    (any::<[u8; 32]>(), md5, sha1, sha512).prop_map(|(sha256, md5, sha1, sha512)| Digests {
        sha256: Sha256::from_bytes(sha256),
        others: [md5, sha1, sha512].into_iter().flatten().collect(),
    })
}

fn instants() -> impl Strategy<Value = SystemTime> {
    // Instants from 1970 to the end of 9999, with the millisecond precision of a record file.
    (0..253_402_300_800_000u64)
        .prop_map(|millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis))
}

fn headers() -> impl Strategy<Value = StoredHeaders> {
    let value = || {
        option::of(prop_oneof![
            "[ -~]{0,30}",
            "\\PC{0,8}",
            "[\\x00-\\x20]{1,3}",
            "a{1020,1030}"
        ])
    };
    let date = option::of(prop_oneof![
        (0..253_402_300_800u64).prop_map(|secs| httpdate::fmt_http_date(
            SystemTime::UNIX_EPOCH + Duration::from_secs(secs)
        )),
        "[ -~]{0,30}",
    ]);
    (date, value(), value(), value()).prop_map(
        |(last_modified, content_type, content_disposition, etag)| StoredHeaders {
            last_modified,
            content_type,
            content_disposition,
            etag,
        },
    )
}

fn collected(headers: &StoredHeaders) -> StoredHeaders {
    StoredHeaders::collect(|name| match name {
        "last-modified" => headers.last_modified.as_deref(),
        "content-type" => headers.content_type.as_deref(),
        "content-disposition" => headers.content_disposition.as_deref(),
        "etag" => headers.etag.as_deref(),
        _ => None,
    })
}

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn records_read_back_as_written(
        target in parts(),
        digests in digests(),
        size_bytes in any::<u64>(),
        first_seen in instants(),
        source in "https?://[a-z.]{1,20}",
        headers in headers(),
    ) {
        let target = Target::parse(&target.canonical()).unwrap();
        let source = RecordSource { source, headers: collected(&headers) };
        let record = Record::new(&target, digests.clone(), size_bytes, first_seen, source);
        let read = Record::parse(&record.to_bytes()).unwrap();
        prop_assert_eq!(&read, &record);
        prop_assert_eq!(read.known_digests(), digests);
        prop_assert_eq!(read.key(), Key::new(&target));
    }

    #[test]
    fn packed_records_unpack_unchanged(
        target in parts(),
        digests in digests(),
        size_bytes in any::<u64>(),
        first_seen in instants(),
        source in "\\PC{0,20}",
        headers in headers(),
        order in (any::<u64>(), any::<bool>()),
    ) {
        let target = Target::parse(&target.canonical()).unwrap();
        let source = RecordSource { source, headers };
        let mut record = Record::new(&target, digests, size_bytes, first_seen, source);
        record.generation = NonZeroU64::new(order.0);
        if order.1 {
            record.standing = Standing::Witnessed;
        }
        let StoredHeaders { last_modified, content_type, content_disposition, etag } =
            &record.headers;
        let texts = [last_modified, content_type, content_disposition, etag];
        let is_broken = texts.into_iter().flatten().any(|text| text.contains('\n'));
        let unpacked = PackedRecord::new(&record).map(|packed| packed.unpack(&target));
        prop_assert_eq!(unpacked, (!is_broken).then_some(record));
    }

    #[test]
    fn records_return_only_plain_header_values(
        target in parts(), digests in digests(), headers in headers()
    ) {
        // A tampered file cannot add a line break or an oversized value to a response.
        let target = Target::parse(&target.canonical()).unwrap();
        let source = RecordSource { source: String::new(), headers: headers.clone() };
        let record = Record::new(&target, digests, 1, SystemTime::UNIX_EPOCH, source);
        let read = Record::parse(&record.to_bytes()).unwrap().headers;
        prop_assert_eq!(&read, &collected(&headers));
        let values = [read.last_modified, read.content_type, read.content_disposition, read.etag];
        for value in values.iter().flatten() {
            let is_plain = value.bytes().all(|byte| (0x20..0x7f).contains(&byte));
            prop_assert!(value.len() <= 1024 && is_plain, "{value:?}");
        }
    }

    #[test]
    fn damaged_record_is_rejected_or_consistent(
        target in parts(),
        digests in digests(),
        cut in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let target = Target::parse(&target.canonical()).unwrap();
        let source = "https://example.org".to_owned();
        let source = RecordSource { source, ..RecordSource::default() };
        let record = Record::new(&target, digests, 1, SystemTime::UNIX_EPOCH, source);
        let bytes = record.to_bytes();
        let at = cut.index(bytes.len() - 1);
        // The last byte is a line break. Without it the record is still complete.
        prop_assert!(Record::parse(&bytes[..at]).is_err() || at == bytes.len() - 1);
        let mut flipped = bytes.clone();
        flipped[at] = byte;
        if let Ok(read) = Record::parse(&flipped) {
            prop_assert_eq!(Record::parse(&read.to_bytes()).unwrap(), read);
        }
    }

    #[test]
    fn arbitrary_bytes_never_parse_as_a_record(bytes in prop_oneof![
        vec(any::<u8>(), 0..64),
        "[\\[{][\\[\\]{}\":,0-9a-z]{0,60}".prop_map(String::into_bytes),
    ]) {
        prop_assert!(Record::parse(&bytes).is_err());
    }

    #[test]
    fn record_order_does_not_change_the_answer(
        target in parts(),
        seen in vec((any::<[u8; 32]>(), 0..3u64, 0..3u64, any::<bool>()), 1..5),
        turn in any::<prop::sample::Index>(),
    ) {
        let target = Target::parse(&target.canonical()).unwrap();
        let records: Vec<_> = seen
            .iter()
            .map(|&(sha256, secs, generation, is_witnessed)| {
                let sha256 = Sha256::from_bytes(sha256);
                let digests = Digests { sha256, others: BTreeMap::new() };
                let first_seen = SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
                let source = RecordSource::default();
                let mut record = Record::new(&target, digests, 1, first_seen, source);
                record.generation = NonZeroU64::new(generation);
                if is_witnessed {
                    record.standing = Standing::Witnessed;
                }
                record
            })
            .collect();
        let mut turned = records.clone();
        turned.rotate_left(turn.index(records.len()));
        let set = |readable| RecordSet { readable, unreadable: Vec::new() };
        let (records, turned) = (set(records), set(turned));
        let answer = records.answer(&[]);
        prop_assert_eq!(turned.answer(&[]), answer);
        let established = || records.readable.iter().filter(|record| {
            record.standing == Standing::Established
        });
        let Answer::Record(answering) = answer else {
            prop_assert!(established().next().is_none());
            return Ok(());
        };
        prop_assert_eq!(answering.standing, Standing::Established);
        prop_assert!(established().all(|record| record.generation >= answering.generation));
        // Only the records of version 0.1.0 are ordered by their times.
        let is_old = |record: &&Record| record.generation.is_none();
        let is_later = |record: &Record| record.first_seen >= answering.first_seen;
        prop_assert!(established().filter(is_old).all(is_later));
    }

    #[test]
    fn new_record_follows_all_others(
        target in parts(),
        seen in vec((any::<[u8; 32]>(), any::<u64>()), 0..5),
        sha256 in any::<[u8; 32]>(),
    ) {
        let target = Target::parse(&target.canonical()).unwrap();
        let new = |sha256| {
            let digests = Digests { sha256: Sha256::from_bytes(sha256), others: BTreeMap::new() };
            let source = RecordSource::default();
            Record::new(&target, digests, 1, SystemTime::UNIX_EPOCH, source)
        };
        let readable = seen.iter().map(|&(sha256, generation)| {
            let mut record = new(sha256);
            record.generation = NonZeroU64::new(generation);
            record
        });
        let set = RecordSet { readable: readable.collect(), unreadable: Vec::new() };
        let placed = set.place(new(sha256), Acceptance::IfFirst);
        let accepted = set.place(new(sha256), Acceptance::Accepted);
        prop_assume!(set.digests().all(|known| known != Sha256::from_bytes(sha256)));
        prop_assert_eq!(placed.standing == Standing::Witnessed, set.count() > 0);
        prop_assert_eq!(accepted.standing, Standing::Established);
        let refused = set.place(new(sha256), Acceptance::Refused);
        prop_assert_eq!(refused.standing, Standing::Witnessed);
        for known in &set.readable {
            prop_assert!(RecordOrder::of(known) <= RecordOrder::of(&placed));
            prop_assert!(known.generation <= accepted.generation);
        }
    }
}
