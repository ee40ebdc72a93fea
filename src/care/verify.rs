//! Looking for rot: what is kept is read and held against its digests, set aside where it is wrong, and brought again from the
//! bucket or from upstream.
//!
//! A hit of rotten bytes is served until it is found here. Once it is set aside it is a miss like any other, so that nothing
//! that fails here is lost to those who ask.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::Serialize;

use crate::fetch::Fetcher;
use crate::model::{Event, Rate, Record, Sha256};
use crate::store::{Checked, Flaw, Flawed, Pace, Store, StoreError, Survey, Verification};

/// How many targets are asked for the bytes of one object.
const MAX_ASKED_TARGETS: usize = 8;

/// How many parts the folder has.
const LAST_PART: u8 = u8::MAX;

/// What became of what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It came back from the bucket.
    Restored,
    /// It came again from upstream.
    Refetched,
    /// It lies in quarantine, and nobody lacks it.
    SetAside,
    /// The index does not list it any more.
    Struck,
    /// It could not be had from anywhere. Whoever asks for it next has it tried again.
    Lost,
    LeftAlone,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    pub flaw: Flaw,
    /// Within the folder.
    pub name: String,
    pub outcome: Outcome,
    pub detail: String,
    /// Whose bytes they are, without secrets.
    pub targets: Vec<String>,
}

/// What a verification has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Objects that are right.
    pub objects: u64,
    /// Their bytes.
    pub size_bytes: u64,
    pub records: u64,
    /// What was wrong and is right again.
    pub mended: u64,
    /// What is wrong still.
    pub unmended: u64,
    /// What is odd and does no harm.
    pub noted: u64,
}

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Of all objects, between 0 and 1.
    pub share: f64,
    /// Whether records and names are looked at too.
    pub surveys: bool,
    /// Whether everything is left as it is.
    pub is_rehearsal: bool,
    pub rate: Rate,
}

/// What whoever waits for it is told.
pub enum Sign<'a> {
    Found(&'a Finding),
    /// So much of its share of the objects was read.
    Done(f64),
}

/// Where lost bytes may come from.
pub struct Sources {
    pub store: Store,
    pub fetcher: Fetcher,
}

struct Verifier<'a> {
    sources: &'a Sources,
    is_rehearsal: bool,
    pace: Pace,
    show: &'a (dyn Fn(&Sign<'_>) + Sync),
    /// Objects that were read before their turn.
    settled: HashSet<Sha256>,
    verified: Verified,
}

/// An object that cannot be served as it is.
type Broken = (Sha256, Flawed);

/// Verifies what is next.
///
/// # Errors
/// [`StoreError`] if folder or index refuse as a whole.
pub async fn verify(
    sources: &Sources,
    turn: &mut Verification,
    plan: Plan,
    show: &(dyn Fn(&Sign<'_>) + Sync),
) -> Result<Verified, StoreError> {
    let pace = Pace::new(plan.rate);
    let mut verifier = Verifier {
        sources,
        is_rehearsal: plan.is_rehearsal,
        pace,
        show,
        settled: HashSet::new(),
        verified: Verified::default(),
    };
    verifier.try_lost_again().await?;
    if plan.surveys {
        verifier.survey().await?;
    }
    verifier.read(turn, plan.share).await?;
    if !plan.is_rehearsal {
        sources.store.tidy_quarantine().await?;
    }
    Ok(verifier.verified)
}

impl Verifier<'_> {
    fn store(&self) -> &Store {
        &self.sources.store
    }

    async fn read(&mut self, turn: &mut Verification, share: f64) -> Result<(), StoreError> {
        let stretch = turn.next_stretch(share);
        let folders = stretch.folders();
        let count = folders.len();
        for (at, folder) in folders.into_iter().enumerate() {
            let mut broken = Vec::new();
            for sha256 in self.store().objects_of(stretch, at, folder).await? {
                if !self.settled.contains(&sha256) {
                    self.check(sha256, &mut broken).await?;
                }
                turn.has_seen(sha256);
            }
            self.mend(broken).await?;
            if !self.is_rehearsal {
                turn.note().await?;
            }
            #[expect(clippy::cast_precision_loss, reason = "there are at most 257 folders")]
            (self.show)(&Sign::Done((at + 1) as f64 / count as f64));
        }
        turn.has_ended(stretch);
        if self.is_rehearsal { Ok(()) } else { turn.note().await }
    }

    /// Reads an object. What is rotten is set aside at once. Returns how long it is if it is right.
    async fn check(&mut self, sha256: Sha256, broken: &mut Vec<Broken>) -> Result<Option<u64>, StoreError> {
        let name = object_name(sha256);
        let checked = self.sources.store.check_object(sha256, &mut self.pace).await;
        let flawed = match checked {
            Checked::Absent => return Ok(None),
            Checked::Right { size_bytes } => {
                self.verified.objects += 1;
                self.verified.size_bytes += size_bytes;
                return Ok(Some(size_bytes));
            }
            Checked::Unreadable(error) => Flawed { flaw: Flaw::Unreadable, name, detail: error.to_string() },
            Checked::Rotten(suspect) => {
                if !self.is_rehearsal && !self.store().set_rotten_aside(suspect).await? {
                    // It was replaced or evicted while it was read.
                    return Ok(None);
                }
                Flawed { flaw: Flaw::Rotten, name, detail: "its bytes are not those of its name".to_owned() }
            }
        };
        broken.push((sha256, flawed));
        Ok(None)
    }

    /// Brings again what was set aside.
    async fn mend(&mut self, broken: Vec<Broken>) -> Result<(), StoreError> {
        if broken.is_empty() {
            return Ok(());
        }
        let digests: HashSet<_> = broken.iter().map(|(sha256, _)| *sha256).collect();
        let naming: HashMap<_, _> = self.store().records_naming(digests).await?;
        for (sha256, flawed) in broken {
            let records = naming.get(&sha256).cloned().unwrap_or_default();
            self.warn(&flawed, &records);
            let (outcome, why) = if self.is_rehearsal || flawed.flaw == Flaw::Unreadable {
                (Outcome::LeftAlone, None)
            } else {
                self.bring_again(&records).await
            };
            if !matches!(outcome, Outcome::Lost | Outcome::LeftAlone) {
                self.store().is_lost_no_more(sha256).await?;
            }
            self.found(flawed, outcome, why, &records);
        }
        Ok(())
    }

    /// What was set aside before and could not be had then, unless somebody else has brought it meanwhile.
    async fn try_lost_again(&mut self) -> Result<(), StoreError> {
        let lost = self.store().lost_objects().await?;
        if lost.is_empty() {
            return Ok(());
        }
        let naming = self.store().records_naming(lost.iter().copied().collect()).await?;
        let mut broken = Vec::new();
        for sha256 in lost {
            let is_lacking = match naming.get(&sha256).and_then(|records| records.first()) {
                // What the disk does not say now is asked the next time.
                Some(record) => match self.store().is_held(record).await {
                    Ok(is_held) => !is_held,
                    Err(_) => continue,
                },
                None => false,
            };
            if is_lacking {
                let detail = "it was rotten, and is gone since".to_owned();
                broken.push((sha256, Flawed { flaw: Flaw::Rotten, name: object_name(sha256), detail }));
            } else if !self.is_rehearsal {
                self.store().is_lost_no_more(sha256).await?;
            }
        }
        self.mend(broken).await
    }

    /// Has the bytes that these records name brought from the bucket, or else from upstream.
    async fn bring_again(&self, records: &[Arc<Record>]) -> (Outcome, Option<String>) {
        let Some(first) = records.first() else { return (Outcome::SetAside, None) };
        let mut why = None;
        match self.store().restore(first).await {
            Ok(true) => return self.has_come(Outcome::Restored, records),
            Ok(false) => {}
            Err(error) => why = Some(error.to_string()),
        }
        for record in records.iter().take(MAX_ASKED_TARGETS) {
            match self.sources.fetcher.restore(&record.target, record.sha256).await {
                Ok(()) => match self.store().is_held(record).await {
                    Ok(true) => return self.has_come(Outcome::Refetched, records),
                    Ok(false) => {}
                    Err(error) => why = Some(error.to_string()),
                },
                Err(error) => why = Some(error.to_string()),
            }
        }
        (Outcome::Lost, why)
    }

    /// What is told of these targets is over.
    fn has_come(&self, outcome: Outcome, records: &[Arc<Record>]) -> (Outcome, Option<String>) {
        let targets = records.iter().map(|record| record.target.clone()).collect();
        self.store().tell(Event::Mended { targets });
        (outcome, None)
    }

    /// Records, names and index.
    async fn survey(&mut self) -> Result<(), StoreError> {
        let mut survey = self.store().survey().await?;
        let mut odd = survey.folders().await?;
        for part in 0..=LAST_PART {
            for flawed in survey.records(part, &mut self.pace).await? {
                if flawed.flaw == Flaw::DamagedRecord {
                    self.mend_record(&survey, flawed, None).await?;
                } else {
                    odd.push(flawed);
                }
            }
        }
        self.verified.records = survey.records;
        self.settle_lengths(&mut survey).await?;
        for part in 0..=LAST_PART {
            odd.extend(survey.objects(part).await?);
        }
        for flawed in odd {
            let is_set_aside =
                flawed.flaw == Flaw::Orphan && !self.is_rehearsal && survey.set_orphan_aside(&flawed.name).await?;
            let outcome = if is_set_aside { Outcome::SetAside } else { Outcome::LeftAlone };
            self.found(flawed, outcome, None, &[]);
        }
        for flawed in survey.missing(self.is_rehearsal).await? {
            let outcome = if self.is_rehearsal { Outcome::LeftAlone } else { Outcome::Struck };
            self.found(flawed, outcome, None, &[]);
        }
        self.look_at_pinned(&survey).await
    }

    /// Of an object and a record that say different lengths, the one that is wrong.
    async fn settle_lengths(&mut self, survey: &mut Survey) -> Result<(), StoreError> {
        let mut broken = Vec::new();
        for (sha256, names) in std::mem::take(&mut survey.of_other_length) {
            self.settled.insert(sha256);
            let Some(right_bytes) = self.check(sha256, &mut broken).await? else { continue };
            for name in names {
                let detail = format!("its object has {right_bytes} bytes, and is right");
                let flawed = Flawed { flaw: Flaw::DamagedRecord, name, detail };
                self.mend_record(survey, flawed, Some(right_bytes)).await?;
            }
        }
        self.mend(broken).await
    }

    async fn mend_record(
        &mut self,
        survey: &Survey,
        flawed: Flawed,
        right_bytes: Option<u64>,
    ) -> Result<(), StoreError> {
        let (outcome, why) = if self.is_rehearsal {
            (Outcome::LeftAlone, None)
        } else {
            match survey.mend_record(&flawed.name, right_bytes).await {
                Ok(true) => (Outcome::Restored, None),
                Ok(false) => (Outcome::Lost, None),
                Err(StoreError::Bucket(error)) => (Outcome::Lost, Some(error.to_string())),
                Err(error) => return Err(error),
            }
        };
        if outcome == Outcome::Lost {
            self.warn(&flawed, &[]);
        }
        self.found(flawed, outcome, why, &[]);
        Ok(())
    }

    /// What an operator keeps is brought again if it is nowhere.
    async fn look_at_pinned(&mut self, survey: &Survey) -> Result<(), StoreError> {
        for record in survey.pinned().await? {
            let name = object_name(record.sha256);
            match self.store().can_be_had(&record).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    let flawed = Flawed { flaw: Flaw::Unreadable, name, detail: error.to_string() };
                    self.found(flawed, Outcome::LeftAlone, None, &[record]);
                    continue;
                }
            }
            let flawed = Flawed { flaw: Flaw::MissingPinned, name, detail: "it is pinned".to_owned() };
            let records = [record];
            self.warn(&flawed, &records);
            let (outcome, why) =
                if self.is_rehearsal { (Outcome::LeftAlone, None) } else { self.bring_again(&records).await };
            self.found(flawed, outcome, why, &records);
        }
        Ok(())
    }

    /// Tells whoever listens, before it is mended: so what is stored again shows that it is over.
    fn warn(&self, flawed: &Flawed, records: &[Arc<Record>]) {
        let Flawed { name, detail, .. } = flawed;
        // What belongs to nobody is in the log.
        if !self.is_rehearsal && !records.is_empty() {
            let targets = records.iter().map(|record| record.target.clone()).collect();
            self.store().tell(Event::Rotten { targets, detail: format!("{name}: {detail}") });
        }
    }

    fn found(&mut self, flawed: Flawed, outcome: Outcome, why: Option<String>, records: &[Arc<Record>]) {
        let Flawed { flaw, name, detail } = flawed;
        let detail = why.map_or_else(|| detail.clone(), |why| format!("{detail}; {why}"));
        let targets = records.iter().map(|record| record.target.to_string()).collect();
        let finding = Finding { flaw, name, outcome, detail, targets };
        let counter = match (flaw, outcome) {
            (Flaw::Writable | Flaw::Foreign, _) | (Flaw::Orphan | Flaw::Missing, Outcome::LeftAlone) => {
                &mut self.verified.noted
            }
            (_, Outcome::Lost | Outcome::LeftAlone) => &mut self.verified.unmended,
            _ => &mut self.verified.mended,
        };
        *counter += 1;
        (self.show)(&Sign::Found(&finding));
    }
}

/// The name of an object within the folder.
fn object_name(sha256: Sha256) -> String {
    format!("objects/{:.2}/{sha256}", sha256.to_string())
}
