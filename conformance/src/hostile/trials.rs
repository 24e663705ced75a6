//! Attacks as tests, for machines that show more of them than the one at hand.

use super::{Attack, Bad, LONG, WRITABLE, attacks, ward_off};
use crate::harness::{Host, Profile, Runtime, forget_leaks, row};
use crate::{Failed, check};
use libtest_mimic::Trial;
use std::path::Path;

/// The attacks of which a host with cgroup v2 alone or AppArmor shows more, as tests, with the time that an emulated
/// machine takes; and the controls of those that other hosts do not show at all.
#[must_use]
pub fn trials(probe: &'static Path, stand_in: &'static Path) -> Vec<Trial> {
    let mut trials = Vec::new();
    for Attack { name, variant, control, needs, .. } in attacks().into_iter().filter(|attack| attack.machine)
    {
        let title = format!("{name} {variant}");
        let this = move || {
            let mut all = attacks().into_iter();
            let found = all.find(|attack| attack.name == name && attack.variant == variant);
            found.ok_or_else(|| Failed::from("there is no such attack"))
        };
        let again = this.clone();
        trials.push(row(
            &title,
            move || needs().or_else(elsewhere),
            move || ward_off(&this()?, probe, &Runtime::under_test()?, LONG).map(drop),
        ));
        if control == WRITABLE {
            // `hostile --controls` has it, anywhere.
            continue;
        }
        let bad = move || Bad::new(Some(Runtime::under_test()?), probe, stand_in.to_owned());
        // What fails here fails in the test.
        let none = move || bad().ok().and_then(|bad| bad.runtime(control).err());
        trials.push(row(
            &format!("{title}: the bad runtime is caught"),
            move || needs().or_else(elsewhere).or_else(none),
            move || {
                let (attack, bad) = (again()?, bad()?);
                let (runtime, how) = bad.runtime(control)?;
                let outcome = bad.suffer(&attack, &runtime, how, LONG)?;
                forget_leaks();
                check!((attack.judge)(&outcome).is_err(), "{} was judged good", runtime.display());
                Ok(())
            },
        ));
    }
    trials
}

/// Why these attacks are not made once more here.
fn elsewhere() -> Option<String> {
    let other = Host::is_pure_v2() || Profile::apparmor();
    (!other).then(|| "neither cgroup v2 alone nor AppArmor: the hostile suite itself has it".to_owned())
}
