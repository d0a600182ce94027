//! The values of sbatch's options: times, memory, devices, dependencies, signals, names of output files.

use crate::field_error::{FieldError, Quoted};
use crate::words::parse_signal;
use crate::{Dependency, DependencyCondition, DeviceRequest, JobId, Signal, SignalTo, Span, parse_devices};
use machine::{Bytes, DeviceClass};

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok().filter(|_| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
}

/// A count of at least one.
pub(super) fn count(text: &str) -> Result<u32, FieldError> {
    let found = number(text).filter(|count| (1..=1_000_000).contains(count));
    found.ok_or_else(|| FieldError::new(format!("{} is no number of at least 1", Quoted(text))))
}

/// `4`, or the least of `2-4` and `2-8:2`.
pub(super) fn nodes(text: &str) -> Result<u32, FieldError> {
    let least = text.split(['-', ':', ',']).next().unwrap_or("");
    count(least).map_err(|_| FieldError::new(format!("{} is no number of machines", Quoted(text))))
}

/// `minutes`, `minutes:seconds`, `hours:minutes:seconds`, `days-hours[:minutes[:seconds]]`; `None` is no limit.
pub(super) fn time(text: &str) -> Result<Option<Span>, FieldError> {
    if ["UNLIMITED", "INFINITE", "0", "-1"].iter().any(|word| word.eq_ignore_ascii_case(text)) {
        return Ok(None);
    }
    let wrong = || {
        FieldError::new(format!("{} is no time of Slurm's", Quoted(text)))
            .hint("write minutes, minutes:seconds, hours:minutes:seconds or days-hours:minutes")
    };
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (Some(number::<u64>(days).ok_or_else(wrong)?), rest),
        None => (None, text),
    };
    let parts = rest.split(':').map(|part| number::<u64>(part).ok_or_else(wrong)).collect::<Result<Vec<_>, _>>()?;
    let (hours, minutes, seconds) = match (days, &parts[..]) {
        (Some(_), [hours]) => (*hours, 0, 0),
        (Some(_), [hours, minutes]) => (*hours, *minutes, 0),
        (_, [hours, minutes, seconds]) => (*hours, *minutes, *seconds),
        (None, [minutes]) => (0, *minutes, 0),
        (None, [minutes, seconds]) => (0, *minutes, *seconds),
        _ => return Err(wrong()),
    };
    let all = [(days.unwrap_or(0), 86_400), (hours, 3600), (minutes, 60), (seconds, 1)];
    let seconds = all.iter().try_fold(0u64, |sum, (count, each)| sum.checked_add(count.checked_mul(*each)?));
    let millis = seconds.and_then(|seconds| seconds.checked_mul(1000)).ok_or_else(wrong)?;
    Ok((millis > 0).then_some(Span(millis)))
}

/// Megabytes of 2^20 bytes unless a letter says otherwise; `None` is all of the machine.
pub(super) fn memory(text: &str) -> Result<Option<Bytes>, FieldError> {
    let wrong =
        || FieldError::new(format!("{} is no amount of memory", Quoted(text))).hint("write it such as 4000 (megabytes), 4000M, 16G or 1T");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "K" | "KB" => 10,
        "" | "M" | "MB" => 20,
        "G" | "GB" => 30,
        "T" | "TB" => 40,
        _ => return Err(wrong()),
    };
    let value: f64 = digits.parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0).ok_or_else(wrong)?;
    let bytes = value * f64::from(1u32 << 10).powi(shift / 10);
    if bytes > 2f64.powi(60) { Err(wrong()) } else { Ok((bytes > 0.0).then_some(Bytes(bytes as u64))) }
}

/// `gpu:a100:2`, `gpu:2`, `gpu`, `a100:2`, `2`: the model in lower case and how many. Of a list, the part about devices.
pub(super) fn devices(text: &str, is_gres: bool) -> Result<Option<(Option<String>, u32)>, FieldError> {
    let mut found = None;
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let mut words: Vec<&str> = part.split('(').next().unwrap_or("").split(':').collect();
        if is_gres {
            let kind = words.remove(0);
            if matches!(kind, "none" | "NONE") {
                continue;
            }
            if !matches!(kind, "gpu" | "gres/gpu" | "npu") {
                return Err(FieldError::new(format!("{} is not granted to jobs", Quoted(kind)))
                    .hint("devices are asked for as gpu:COUNT or gpu:MODEL:COUNT"));
            }
        }
        let is_npu = is_gres && part.starts_with("npu");
        let mut one = match words[..] {
            [] => (None, 1),
            [word] => match number(word) {
                Some(count) => (None, count),
                None => (Some(word.to_ascii_lowercase()), 1),
            },
            [model, amount] => (Some(model.to_ascii_lowercase()), if amount == "0" { 0 } else { count(amount)? }),
            _ => {
                return Err(
                    FieldError::new(format!("{} is no number of devices", Quoted(part))).hint("write it such as gpu:2 or gpu:a100:2")
                );
            }
        };
        if is_npu && one.0.is_none() {
            one.0 = Some("npu".to_owned());
        }
        if one.1 > 0 && found.replace(one).is_some() {
            return Err(FieldError::new(format!("{} asks for devices of two kinds", Quoted(text))).hint("a job gets devices of one kind"));
        }
    }
    Ok(found)
}

/// The request for `count` devices of a model.
pub(super) fn request(model: Option<&str>, count: u32) -> Result<DeviceRequest, FieldError> {
    match model {
        Some(model) => parse_devices(&format!("{model}:{count}")),
        None => Ok(DeviceRequest { class: Some(DeviceClass::Gpu), count, ..DeviceRequest::default() }),
    }
}

/// `17`, or a task of an array as `17_3`.
pub(super) fn job_id(text: &str) -> Result<JobId, FieldError> {
    let wrong = || FieldError::new(format!("{} is no job", Quoted(text))).hint("write its number, and a task of an array as 17_3");
    match text.split_once('_') {
        Some((job, task)) => Ok(JobId::task(number(job).ok_or_else(wrong)?, number(task).ok_or_else(wrong)?)),
        None => number(text).map(JobId::new).ok_or_else(wrong),
    }
}

/// `afterok:17:18,afterany:19`. All must be met.
pub(super) fn dependencies(text: &str) -> Result<Vec<Dependency>, FieldError> {
    if text.contains('?') {
        return Err(
            FieldError::new("a dependency on any one of several jobs cannot be kept").hint("all named jobs must end: separate with ','")
        );
    }
    let mut found = vec![];
    for part in text.split(',') {
        let mut words = part.split(':');
        let condition = match words.next().unwrap_or("") {
            "afterok" => DependencyCondition::Ok,
            "afternotok" => DependencyCondition::NotOk,
            "afterany" => DependencyCondition::Any,
            "" if part.is_empty() => continue,
            "singleton" => {
                return Err(FieldError::new("'singleton' cannot be kept").hint("name the jobs to wait for: afterany:17"));
            }
            other => {
                let message = format!("the dependency {} cannot be kept", Quoted(other));
                return Err(FieldError::new(message).hint("there are afterok, afternotok and afterany"));
            }
        };
        let jobs = words.map(job_id).collect::<Result<Vec<_>, _>>()?;
        if jobs.is_empty() {
            return Err(FieldError::new(format!("{} names no job", Quoted(part))).hint("write it such as afterok:17"));
        }
        found.extend(jobs.into_iter().map(|job| Dependency { job, condition }));
    }
    Ok(found)
}

/// `[B:]USR1[@60]`: the signal, to whom, and how long before the end.
pub(super) fn signal(text: &str) -> Result<(Signal, SignalTo, Span), FieldError> {
    let (text, to) = match text.split_once(':') {
        Some(("B", rest)) => (rest, SignalTo::Main),
        Some((other, _)) => {
            return Err(FieldError::new(format!("{} cannot be kept", Quoted(other))).hint("there is only 'B:', for the script alone"));
        }
        None => (text, SignalTo::All),
    };
    let (name, before) = match text.split_once('@') {
        Some((name, before)) => (name, number(before).filter(|seconds| *seconds <= 65_535)),
        None => (text, Some(60)),
    };
    let seconds =
        before.ok_or_else(|| FieldError::new("the time of the signal is no number of seconds").hint("write it such as USR1@120"))?;
    let all = [Signal::Term, Signal::Int, Signal::Hup, Signal::Usr1, Signal::Usr2];
    let by_number = number::<i32>(name).and_then(|number| all.into_iter().find(|signal| signal.number() == number));
    Ok((by_number.map_or_else(|| parse_signal(name), Ok)?, to, Span::seconds(seconds)))
}

/// The name of an output file as a word of the shell: what is known at the submission put in, the rest from variables.
pub(super) fn file_name(pattern: &str, folder: &str, job: &str, user: &str) -> Result<String, FieldError> {
    if pattern.is_empty() || pattern.contains('\0') {
        return Err(FieldError::new("the name of a file is empty"));
    }
    let whole = if pattern.starts_with('/') { pattern.to_owned() } else { format!("{}/{pattern}", folder.trim_end_matches('/')) };
    // A backslash switches patterns off.
    if pattern.contains('\\') {
        return Ok(quoted(&whole.replace('\\', "")));
    }
    let mut word = String::new();
    let mut plain = String::new();
    let mut rest = whole.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '%' {
            plain.push(c);
            continue;
        }
        let mut width = String::new();
        while let Some(digit) = rest.next_if(char::is_ascii_digit) {
            width.push(digit);
        }
        let variable = match rest.next() {
            Some('%') => {
                plain.push('%');
                continue;
            }
            Some('x') => {
                plain.push_str(&job.replace('/', "_"));
                continue;
            }
            Some('u') => {
                plain.push_str(user);
                continue;
            }
            Some('j' | 'J') => "SLURM_JOB_ID",
            // Of a job that is no array, Slurm puts its number and 4294967294.
            Some('A') => "SLURM_ARRAY_JOB_ID",
            Some('a') => "SLURM_ARRAY_TASK_ID",
            Some('N') => "SLURMD_NODENAME",
            Some('n' | 't') => "SLURM_NODEID",
            Some('s') => "SLURM_STEP_ID",
            other => {
                let shown = other.map_or_else(String::new, String::from);
                return Err(FieldError::new(format!("{} is no pattern", Quoted(&format!("%{shown}"))))
                    .hint("there are %j %A %a %x %u %N %n %t %s %%"));
            }
        };
        let instead = match variable {
            "SLURM_ARRAY_JOB_ID" => ":-$SLURM_JOB_ID",
            "SLURM_ARRAY_TASK_ID" => ":-4294967294",
            "SLURM_STEP_ID" => ":-batch",
            _ => "",
        };
        word += &quoted(&std::mem::take(&mut plain));
        word += &match number::<u8>(&width).filter(|width| (1..=10).contains(width)) {
            Some(width) if variable != "SLURMD_NODENAME" => format!("\"$(printf %0{width}d \"${{{variable}{instead}}}\")\""),
            _ => format!("\"${{{variable}{instead}}}\""),
        };
    }
    Ok(word + &quoted(&plain))
}

/// Text as one word of the shell, whatever is in it.
pub(super) fn quoted(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_whole_and_at_least_one() {
        for (text, count) in [("1", 1), ("007", 7), ("1000000", 1_000_000)] {
            assert_eq!(super::count(text).unwrap(), count);
        }
        for text in ["", "0", "-1", "1.5", "1k", "+1", "1000001", "99999999999999999999", "٣"] {
            assert!(super::count(text).unwrap_err().message.contains("no number"), "{text}");
        }
    }

    #[test]
    fn the_least_number_of_machines_is_taken() {
        for (text, count) in [("2", 2), ("1-4", 1), ("2-8:2", 2), ("3,5", 3)] {
            assert_eq!(nodes(text).unwrap(), count, "{text}");
        }
        for text in ["", "-4", "x", "0-2"] {
            assert!(nodes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn memory_is_in_megabytes_unless_a_letter_says_otherwise() {
        let mib = 1u64 << 20;
        let amounts = [
            ("4000", 4000 * mib),
            ("4000M", 4000 * mib),
            ("4000MB", 4000 * mib),
            ("16G", 16 << 30),
            ("16gb", 16 << 30),
            ("1.5G", 3 << 29),
            ("1T", 1 << 40),
            ("2048K", 2 * mib),
        ];
        for (text, bytes) in amounts {
            assert_eq!(memory(text).unwrap(), Some(Bytes(bytes)), "{text}");
        }
        assert_eq!(memory("0").unwrap(), None, "all there is");
        for text in ["", "G", "-1", "1P", "inf", "NaN", "1e400", "16 G", "16GiB"] {
            assert!(memory(text).unwrap_err().hint.unwrap().contains("16G"), "{text}");
        }
    }

    #[test]
    fn devices_are_read_with_and_without_their_kind() {
        let model = |name: &str| Some(name.to_owned());
        for (text, found) in [
            ("gpu", Some((None, 1))),
            ("gpu:2", Some((None, 2))),
            ("gpu:A100:2", Some((model("a100"), 2))),
            ("gpu:a100", Some((model("a100"), 1))),
            ("gres/gpu:4", Some((None, 4))),
            ("gpu:tesla:2(S:0-1)", Some((model("tesla"), 2))),
            ("npu:8", Some((model("npu"), 8))),
            ("npu:910b:8", Some((model("910b"), 8))),
            ("none", None),
            ("gpu:a100:0", None),
        ] {
            assert_eq!(devices(text, true).unwrap(), found, "{text}");
        }
        for (text, found) in [("2", Some((None, 2))), ("h100:4", Some((model("h100"), 4))), ("h100", Some((model("h100"), 1)))] {
            assert_eq!(devices(text, false).unwrap(), found, "{text}");
        }
        for text in ["shard:1", "gpu:a:b:c", "gpu:a100:x", "gpu:a100:1,gpu:v100:1", "mps:50"] {
            assert!(devices(text, true).is_err(), "{text}");
        }
    }

    #[test]
    fn requests_go_through_the_grammar_of_job_files() {
        assert_eq!(request(None, 2).unwrap().describe(), "2 of any GPU");
        assert_eq!(request(Some("a100"), 2).unwrap().describe(), "2 of a100");
        assert_eq!(request(Some("npu"), 8).unwrap().describe(), "8 of any NPU");
        assert!(request(Some("!"), 1).is_err());
    }

    #[test]
    fn dependencies_name_jobs_and_conditions() {
        let told = |text: &str| {
            let all = dependencies(text).unwrap();
            all.iter().map(|after| format!("{}:{}", after.job, after.condition)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(told("afterok:17"), "17:ok");
        assert_eq!(told("afterok:17:18_2,afternotok:19"), "17:ok 18.2:ok 19:not-ok");
        assert_eq!(told("afterany:1,"), "1:any");
        assert_eq!(told(""), "");
        for text in ["afterok", "afterok:", "afterok:x", "after:1", "aftercorr:1", "singleton", "afterok:1?afterany:2", "afterok:1+5"] {
            assert!(dependencies(text).is_err(), "{text}");
        }
    }

    #[test]
    fn signals_have_a_receiver_and_a_notice() {
        let seconds = Span::seconds;
        for (text, found) in [
            ("USR1", (Signal::Usr1, SignalTo::All, seconds(60))),
            ("SIGUSR2@120", (Signal::Usr2, SignalTo::All, seconds(120))),
            ("B:TERM@5", (Signal::Term, SignalTo::Main, seconds(5))),
            ("10@0", (Signal::Usr1, SignalTo::All, seconds(0))),
            ("B:2@65535", (Signal::Int, SignalTo::Main, seconds(65_535))),
        ] {
            assert_eq!(signal(text).unwrap(), found, "{text}");
        }
        for text in ["", "KILL", "9@10", "R:USR1@5", "USR1@", "USR1@x", "USR1@65536", "USR1@-5"] {
            assert!(signal(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_of_files_become_one_word_of_the_shell() {
        let name = |pattern: &str| file_name(pattern, "/w d/", "a job", "ada").unwrap();
        assert_eq!(name("out.txt"), "'/w d/out.txt'");
        assert_eq!(name("/abs/%x.log"), "'/abs/a job.log'");
        assert_eq!(name("it's"), r"'/w d/it'\''s'");
        assert_eq!(name("%u-%%"), "'/w d/ada-%'");
        assert_eq!(name("/x/%j"), "'/x/'\"${SLURM_JOB_ID}\"");
        assert_eq!(name("/x/%5j.o"), "'/x/'\"$(printf %05d \"${SLURM_JOB_ID}\")\"'.o'");
        assert_eq!(name("/x/%5N"), "'/x/'\"${SLURMD_NODENAME}\"", "a name is not padded");
        assert_eq!(name("/x/$(reboot)`id`"), "'/x/$(reboot)`id`'", "nothing of it is run");
        assert_eq!(name(r"/x/\%j"), "'/x/%j'", "a backslash switches patterns off");
        for pattern in ["", "%q", "%", "a%9", "\0"] {
            assert!(file_name(pattern, "/", "j", "u").is_err(), "{pattern:?}");
        }
    }
}
