//! The forms as programs print them, and everything else.

use super::*;
use proptest::prelude::*;

fn line(text: &str) -> Line {
    read_line(text).unwrap_or_else(|| panic!("nothing in {text:?}"))
}

/// step, steps, loss.
fn short(text: &str) -> (Option<u64>, Option<u64>, Option<f64>) {
    let line = line(text);
    (line.step, line.steps, line.loss)
}

#[test]
fn lines_with_names() {
    for (text, expected) in [
        ("step 120/1000 loss=0.31", (Some(120), Some(1000), Some(0.31))),
        ("Step: 120/1000, Loss: 0.31", (Some(120), Some(1000), Some(0.31))),
        ("iter 120: loss 4.2231, time 312.20ms, mfu 1.2%", (Some(120), None, Some(4.2231))),
        ("step=7 loss=1.5e-3 lr=0.1", (Some(7), None, Some(0.0015))),
        ("[120/1000] loss: 0.31", (Some(120), Some(1000), Some(0.31))),
        ("global_step 12 train_loss -0.5", (Some(12), None, Some(-0.5))),
        ("step 5: train loss 4.1, val loss 4.2", (Some(5), None, Some(4.1))),
        (" iteration      100/    5000 | consumed samples: 1600 | lm loss: 7.104950E+00 |", (Some(100), Some(5000), Some(7.10495))),
        ("2026-11-22 10:00:01,123 INFO step 3/9 loss 2", (Some(3), Some(9), Some(2.0))),
        ("\u{1b}[32mstep\u{1b}[0m 3/9 loss \u{1b}[1m0.5\u{1b}[0m", (Some(3), Some(9), Some(0.5))),
        ("loss 0.5", (None, None, Some(0.5))),
    ] {
        assert_eq!(short(text), expected, "{text}");
    }
}

#[test]
fn bars() {
    let tqdm = line(" 12%|█▏        | 120/1000 [00:12<01:30,  9.80it/s, loss=0.31]");
    assert_eq!((tqdm.step, tqdm.steps, tqdm.loss, tqdm.left), (Some(120), Some(1000), Some(0.31), Some(90)));
    let long = line("100%|██████████| 5/5 [1:00:00<2:00:01, 720s/it]");
    assert_eq!((long.step, long.left), (Some(5), Some(7201)));
    let lightning = line("Epoch 3:  45%|████▌     | 45/100 [00:05<00:06, 9.02it/s, v_num=0, train_loss=0.250]");
    assert_eq!((lightning.epoch, lightning.step, lightning.steps, lightning.loss), (Some(3.0), Some(45), Some(100), Some(0.25)));
    let keras = line("45/100 ━━━━━━━━━━━━━━━━━━━━ 1s 31ms/step - accuracy: 0.9102 - loss: 0.2950");
    assert_eq!((keras.step, keras.steps, keras.loss), (Some(45), Some(100), Some(0.295)));
    let epoch = line("Epoch 2/10");
    assert_eq!((epoch.epoch, epoch.epochs, epoch.step), (Some(2.0), Some(10), None));
}

#[test]
fn dictionaries() {
    let trainer = line("{'loss': 0.31, 'grad_norm': 1.2, 'learning_rate': 5e-05, 'epoch': 0.5}");
    assert_eq!((trainer.loss, trainer.epoch, trainer.step), (Some(0.31), Some(0.5), None));
    let quoted = line("{'loss': '0.31', 'epoch': '0.5'}");
    assert_eq!(quoted.loss, Some(0.31));
    let json = line(r#"{"step": 120, "total": 1000, "loss": 0.31, "note": "x"}"#);
    assert_eq!((json.step, json.steps, json.loss), (Some(120), Some(1000), Some(0.31)));
    assert_eq!(read_line("{'train_runtime': 12.1, 'train_loss': 0.9, 'epoch': 3.0}"), None);
    assert_eq!(read_line("{'eval_loss': 0.4}"), None);
}

#[test]
fn what_is_no_progress_is_none() {
    for text in [
        "",
        "collected 3/4 tests",
        "read 12/30 files",
        "2026/11/22 it is late",
        "see /usr/lib/python3/12/x",
        "step by step",
        "the loss of data",
        "val loss 0.4",
        "loss: nan",
        "9.8 it/s",
        "{}",
        "{not: a: dict",
    ] {
        assert_eq!(read_line(text), None, "{text}");
    }
    assert_eq!(read_line(&format!("step 1/2 {}", "x".repeat(5000))), None);
}

#[test]
fn totals_that_cannot_be_are_left_out() {
    assert_eq!(short("step 9/3 loss 1"), (Some(9), None, Some(1.0)));
    assert_eq!(short("step 1/0 loss 1"), (Some(1), None, Some(1.0)));
}

#[test]
fn progress_goes_by_the_last_line() {
    let mut progress = Progress::default();
    progress.read("starting\nstep 1/4 loss=4\nnoise\nstep 2/4 loss=3\r\nstep 3/4 loss=2.5\n");
    assert_eq!((progress.step, progress.steps, progress.loss, progress.fraction()), (Some(3), Some(4), Some(2.5), Some(0.75)));
    assert_eq!(progress.left(30), Some(10));
    assert_eq!(progress.curve.iter().map(|point| point.step).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(Progress::default().is_empty() && Progress::default().left(5).is_none());
}

#[test]
fn lines_without_steps_draw_a_curve_by_their_order() {
    let mut progress = Progress::default();
    for (epoch, loss) in [(0.5, 4.0), (1.0, 3.0), (1.5, 2.5)] {
        progress.read(&format!("{{'loss': {loss}, 'learning_rate': 5e-05, 'epoch': {epoch}}}\n"));
    }
    let curve: Vec<(u64, f64)> = progress.curve.iter().map(|point| (point.step, point.loss)).collect();
    assert_eq!(curve, [(1, 4.0), (2, 3.0), (3, 2.5)]);
    assert_eq!((progress.epoch, progress.fraction()), (Some(1.5), None), "nobody said how many epochs");
}

#[test]
fn epochs_tell_where_steps_have_no_end() {
    let mut progress = Progress::default();
    progress.read("Epoch 1/4\nstep 10 loss=1\n");
    assert_eq!((progress.fraction(), progress.left(10)), (Some(0.25), Some(30)));
}

#[test]
fn what_was_known_stays_known() {
    let mut progress = Progress::default();
    progress.read("step 1/9 loss=4\nstep 2 loss=3\nval loss 9\nloss: nan\n");
    assert_eq!((progress.step, progress.steps, progress.loss), (Some(2), Some(9), Some(3.0)));
    // A step without a rest takes back what an earlier bar said of it.
    progress.read(" 50%|# | 5/9 [00:01<00:02, 1it/s]\rstep 6 loss=1\n");
    assert_eq!((progress.step, progress.seconds_left), (Some(6), None));
}

#[test]
fn a_bar_that_is_drawn_again_is_one_point() {
    let mut progress = Progress::default();
    for loss in ["0.5", "0.4", "0.3"] {
        progress.read(&format!(" 10%|#    | 1/10 [00:01<00:09, 1it/s, loss={loss}]\r"));
    }
    assert_eq!(progress.curve, [Point { step: 1, loss: 0.3 }]);
}

#[test]
fn an_attempt_that_goes_on_from_a_checkpoint_is_not_faster_than_it_is() {
    let mut progress = Progress::default();
    progress.read("step 51/100 loss=1\nstep 52/100 loss=1\nstep 60/100 loss=1\n");
    assert_eq!(progress.left(10), Some(40), "ten steps in ten seconds");
    let mut seldom = Progress::default();
    seldom.read("step 100/1000 loss=1\n");
    assert_eq!(seldom.left(10), Some(90));
    seldom.read("step 200/1000 loss=1\n");
    assert_eq!(seldom.left(20), Some(80), "every hundredth step is printed");
}

#[test]
fn a_bar_for_each_epoch_counts_on() {
    let mut progress = Progress::default();
    for epoch in 1..=2 {
        progress.read(&format!("Epoch {epoch}/4\n"));
        for step in 1..=10 {
            progress.read(&format!("{step}/10 ━━━━ 1s 3ms/step - loss: {}\r", 1.0 / f64::from(epoch * 10 + step)));
        }
    }
    assert_eq!((progress.fraction(), progress.curve.last().map(|point| point.step)), (Some(0.5), Some(20)));
}

#[test]
fn a_program_that_names_its_rest_is_believed() {
    let mut progress = Progress::default();
    progress.read(" 12%|█▏  | 120/1000 [00:12<01:30,  9.80it/s]\r");
    assert_eq!(progress.left(1_000_000), Some(90));
}

proptest! {
    #[test]
    fn any_text_is_read_without_harm(text in "(step|iter|loss|epoch|[0-9/=.:<%|\\[\\]{}', eE+-]|\\PC){0,60}", seconds in any::<u64>()) {
        let mut progress = Progress::default();
        progress.read(&text);
        let _ = progress.left(seconds);
        prop_assert!(progress.fraction().is_none_or(|part| (0.0..=1.0).contains(&part)));
        prop_assert!(progress.loss.is_none_or(f64::is_finite));
    }

    #[test]
    fn what_is_printed_is_read(step in 0u64..1_000_000, more in 0u64..1_000_000, loss in -1e6f64..1e6) {
        let steps = step + more + 1;
        for text in [
            format!("step {step}/{steps} loss={loss}"),
            format!("[{step}/{steps}] loss: {loss}"),
            format!("{{\"step\": {step}, \"total\": {steps}, \"loss\": {loss}}}"),
            format!(" 3%|█ | {step}/{steps} [00:01<00:02, 1.0it/s, loss={loss}]"),
            format!("Iter {step}/{steps} | lr 1e-3 | loss {loss:e}"),
        ] {
            prop_assert_eq!(short(&text), (Some(step), Some(steps), Some(loss)), "{}", text);
        }
    }

    #[test]
    fn a_curve_is_bounded_and_in_order(steps in 1u64..6000) {
        let mut progress = Progress::default();
        for step in 1..=steps {
            progress.take(&Line { step: Some(step), loss: Some(1.0), ..Line::default() });
        }
        prop_assert!(progress.curve.len() <= CURVE_POINTS);
        prop_assert!(progress.curve.len() as u64 >= steps.min(200));
        prop_assert!(progress.curve.windows(2).all(|pair| pair[0].step < pair[1].step));
    }
}
