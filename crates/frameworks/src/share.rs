//! Variables of a run that holds parts of devices.

use crate::launch::LaunchInput;
use crate::variables::Variables;
use machine::{Device, Enforcement};

/// `shown`: the devices the rank sees, in the order in which its libraries count them.
pub(crate) fn fill(variables: &mut Variables, input: &LaunchInput, shown: &[&Device]) {
    let Some(share) = input.grant.share.filter(|_| !shown.is_empty()) else { return };
    variables.fix("ASHLAR_DEVICE_MEMORY", share.memory.0.to_string(), "bytes of each device's memory that are this run's");
    // A slice has nothing else to take, and its library tells its own size.
    if share.enforced == Enforcement::Hard {
        return;
    }
    if let Some(memory) = shown[0].memory {
        // Of the whole card, as XLA reckons; rounded down. Its default takes three quarters at once.
        let part = share.memory.scaled(1000, memory.0).0.clamp(1, 999);
        variables.set("XLA_PYTHON_CLIENT_MEM_FRACTION", format!("0.{part:03}"), "JAX takes this part of a card at once, else 75 %");
    }
    variables.set("TF_FORCE_GPU_ALLOW_GROWTH", "true", "TensorFlow takes a card's whole memory at once unless told otherwise");
}
