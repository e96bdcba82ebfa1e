//! Lists of info hashes, for trackers that serve only what is listed.

use std::io::{BufWriter, Write as _, stdout};

use proto::InfoHash;

use crate::crowd::info_hash;

/// Prints info hashes in hex, one a line
#[derive(Debug, clap::Args)]
pub(crate) struct HashesArgs {
    /// How many
    #[arg(long, default_value_t = 100_000)]
    count: u64,
    /// Those that aquatic_udp_load_test 0.9 makes up, not ours
    #[arg(long)]
    aquatic: bool,
}

pub(crate) fn run(args: &HashesArgs) -> anyhow::Result<()> {
    let mut out = BufWriter::new(stdout().lock());
    let mut theirs = Xoshiro::seeded(AQUATIC_SEED);
    for number in 0..args.count {
        let hash = if args.aquatic { theirs.info_hash() } else { info_hash(number) };
        writeln!(out, "{hash}")?;
    }
    Ok(out.flush()?)
}

/// The seed in its source.
const AQUATIC_SEED: u64 = 0xc3aa_8be6_17b3_acce;

/// xoshiro256++, seeded with PCG32: the small generator of rand 0.8 on 64-bit machines.
struct Xoshiro([u64; 4]);

impl Xoshiro {
    fn seeded(mut state: u64) -> Self {
        let mut word = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(11_634_580_027_462_260_723);
            let mixed = (((state >> 18) ^ state) >> 27) as u32;
            u64::from(mixed.rotate_right((state >> 59) as u32))
        };
        Self(std::array::from_fn(|_| word() | word() << 32))
    }

    fn next(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let shifted = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= shifted;
        s[3] = s[3].rotate_left(45);
        result
    }

    fn info_hash(&mut self) -> InfoHash {
        // A byte is the lowest of the upper half.
        InfoHash(std::array::from_fn(|_| (self.next() >> 32) as u8))
    }
}
