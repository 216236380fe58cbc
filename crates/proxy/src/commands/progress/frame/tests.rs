//! What a terminal or a log shows of a state.

use super::*;

const VIEW: View<'_> = View {
    heading: "verify photos/2024/",
    unit: Unit::Objects,
    done: 1240,
    total: Total::Exactly(2000),
    bytes: 154_140_672,
    skipped: 0,
    failed: 0,
    rates: Rates {
        done: 209.0,
        bytes: 26_004_685.0,
    },
    elapsed: Duration::from_secs(6),
};

fn widths(frame: &str) -> Vec<usize> {
    let plain = anstream::adapter::strip_str(frame).to_string();
    plain.lines().map(|line| line.chars().count()).collect()
}

#[test]
fn a_known_total_has_a_bar_and_the_time_left() {
    insta::assert_snapshot!(VIEW.frame(80, 0, Palette::PLAIN), @r"
    verify photos/2024/  ━━━━━━━━━━━━━━━━━━━━━━━━────────────────  62%
      1,240 of 2,000 objects, 209/s, 24.80 MiB/s, 0:06 elapsed, 0:03 left, 0 failed
    ");
}

#[test]
fn an_unknown_total_has_a_spinner_and_what_was_counted_so_far() {
    let counting = View {
        total: Total::AtLeast(15_000),
        failed: 3,
        ..VIEW
    };
    insta::assert_snapshot!(counting.frame(80, 2, Palette::PLAIN), @r"
    ⠹ verify photos/2024/
      1,240 of 15,000+ objects, 209/s, 24.80 MiB/s, 0:06 elapsed, 3 failed
    ");
    let unknown = View {
        total: Total::Unknown,
        ..VIEW
    };
    assert!(
        unknown
            .frame(80, 0, Palette::PLAIN)
            .contains("\n  1,240 objects, ")
    );
}

#[test]
fn colours_change_nothing_but_the_look() {
    let failed = View { failed: 3, ..VIEW };
    let coloured = failed.frame(80, 0, Palette::COLOURED);
    assert!(
        coloured.contains("\u{1b}[1m\u{1b}[31m3 failed\u{1b}[0m"),
        "{coloured:?}"
    );
    let plain = anstream::adapter::strip_str(&coloured).to_string();
    let expected = failed.frame(80, 0, Palette::PLAIN);
    // With colours both parts of the bar consist of the same character.
    assert_eq!(plain.replace('━', "─"), expected.replace('━', "─"));
}

#[test]
fn no_line_is_wider_than_the_terminal_and_failures_stay_longest() {
    let long = View {
        heading: "verify a-bucket-with-a-long-name/and/a/prefix/that/goes/on/and/on/",
        done: 1_234_567,
        total: Total::Exactly(98_765_432),
        failed: 4321,
        skipped: 99,
        ..VIEW
    };
    for view in [VIEW, long] {
        for width in [1, 10, 20, 40, 60, 80, 100, 200] {
            for palette in [Palette::PLAIN, Palette::COLOURED] {
                let frame = view.frame(width, 1, palette);
                let widest = widths(&frame).into_iter().max().unwrap_or(0);
                assert!(widest <= width.max(14), "{width}: {widest}: {frame}");
            }
        }
    }
    assert!(long.frame(60, 0, Palette::PLAIN).contains("4,321 failed"));
}

#[test]
fn only_the_whole_is_a_hundred_percent() {
    for (done, total, percent) in [
        (0, 1, 0),
        // Rounded down: 100 % means the end.
        (1999, 2000, 99),
        (7, 7, 100),
        // Objects were added after they had been counted.
        (9, 7, 100),
        (0, 0, 100),
    ] {
        let view = View {
            done,
            total: Total::Exactly(total),
            ..VIEW
        };
        let frame = view.frame(80, 0, Palette::PLAIN);
        assert!(
            frame.contains(&format!(" {percent}%")),
            "{done} of {total}: {frame}"
        );
    }
}

#[test]
fn a_log_has_a_line() {
    let line = "verify photos/2024/: 1,240 of 2,000 objects, 0 skipped, 0 failed, 147.00 MiB, \
        209/s, 0:03 left";
    assert_eq!(VIEW.line(), line);
    let unknown = View {
        total: Total::Unknown,
        ..VIEW
    };
    let line = "verify photos/2024/: 1,240 objects, 0 skipped, 0 failed, 147.00 MiB, 209/s";
    assert_eq!(unknown.line(), line);
}

#[test]
fn bytes_and_buckets_are_counted_too() {
    let object = View {
        heading: "decrypt photos/cat.jpg",
        unit: Unit::Bytes,
        done: 52_428_800,
        total: Total::Exactly(104_857_600),
        rates: Rates {
            done: 26_214_400.0,
            bytes: 26_214_400.0,
        },
        ..VIEW
    };
    insta::assert_snapshot!(object.frame(80, 0, Palette::PLAIN), @r"
    decrypt photos/cat.jpg  ━━━━━━━━━━━━━━━━━━━━────────────────────  50%
      50.00 MiB of 100.00 MiB, 25.00 MiB/s, 0:06 elapsed, 0:02 left
    ");
    let sweep = View {
        heading: "sweep photos",
        unit: Unit::Buckets,
        done: 1,
        total: Total::Exactly(4),
        rates: Rates::default(),
        ..VIEW
    };
    insta::assert_snapshot!(sweep.frame(80, 0, Palette::PLAIN), @r"
    sweep photos  ━━━━━━━━━━──────────────────────────────  25%
      1 of 4 buckets, 0:06 elapsed, 0 failed
    ");
}

#[test]
fn long_times_have_hours() {
    assert_eq!(Clock(Duration::from_secs(59)).to_string(), "0:59");
    assert_eq!(Clock(Duration::from_secs(3723)).to_string(), "1:02:03");
}
