//! Fair draws without repeats.

use chance::Chance;

/// Picks `want` of `count` positions, each with the same chance and none twice: one position by chance
/// out of each of `want` equal parts of a circle that starts anywhere.
pub(crate) fn sample(count: usize, want: usize, chance: &mut Chance, pick: impl FnMut(usize)) {
    sample_runs(count, want, 1, chance, pick);
}

/// [`sample`], but up to `run` neighbours out of each of fewer parts: what they stand for lies side by
/// side in memory.
pub(crate) fn sample_runs(
    count: usize,
    want: usize,
    run: usize,
    chance: &mut Chance,
    mut pick: impl FnMut(usize),
) {
    let want = want.min(count);
    if want == 0 {
        return;
    }
    let start = chance.index(count);
    let parts = want.div_ceil(run);
    // Runs and parts grow in step: `count` is not below `want`, so no part is shorter than its run.
    let run_end = |part: usize| part * want / parts;
    let part_end = |part: usize| run_end(part) * count / want;
    for part in 0..parts {
        let len = run_end(part + 1) - run_end(part);
        let low = part_end(part);
        let room = part_end(part + 1) - low - len;
        let first = start + low + if room > 0 { chance.index(room + 1) } else { 0 };
        for at in first..first + len {
            pick(if at >= count { at - count } else { at });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_never_repeats_and_is_fair() {
        for (count, want, run) in [
            (1, 1, 1),
            (7, 3, 1),
            (50, 50, 1),
            (50, 80, 1),
            (1_000, 30, 1),
            (9, 8, 4),
            (50, 80, 8),
            (61, 50, 8),
            (18, 17, 4),
            (1_000, 30, 8),
        ] {
            let mut seen = vec![0_u32; count];
            let rounds = 4_000;
            let mut chance = Chance::new(42);
            for _ in 0..rounds {
                let mut picked = Vec::new();
                sample_runs(count, want, run, &mut chance, |at| picked.push(at));
                picked.sort_unstable();
                picked.dedup();
                assert_eq!(picked.len(), want.min(count));
                picked.into_iter().for_each(|at| seen[at] += 1);
            }
            let mean = (rounds * want.min(count) / count) as f64;
            let spread = 6.0 * mean.sqrt() + 1.0;
            for times in seen {
                assert!((f64::from(times) - mean).abs() < spread, "{times} against {mean}");
            }
        }
    }
}
