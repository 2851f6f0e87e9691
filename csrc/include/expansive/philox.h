// Philox4x32-10: counter-based random numbers (Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3", SC 2011). A pure function of counter and key, so any row can be drawn anywhere.
#pragma once

#include <cstdint>

#include "expansive/host_device.h"

namespace expansive {

struct Philox4 {
  uint32_t word[4];
};

struct PhiloxKey {
  uint32_t word[2];
};

inline constexpr int kPhiloxRounds = 10;
inline constexpr uint32_t kPhiloxMultiplier0 = 0xD2511F53u, kPhiloxMultiplier1 = 0xCD9E8D57u;

EXPANSIVE_HOST_DEVICE EXPANSIVE_ALWAYS_INLINE PhiloxKey philox_key(uint64_t seed) {
  return {{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)}};
}

// The key of the round after one's.
EXPANSIVE_HOST_DEVICE EXPANSIVE_ALWAYS_INLINE PhiloxKey next_philox_key(PhiloxKey key) {
  return {{key.word[0] + 0x9E3779B9u, key.word[1] + 0xBB67AE85u}};
}

EXPANSIVE_HOST_DEVICE EXPANSIVE_ALWAYS_INLINE Philox4 philox4x32(Philox4 counter, PhiloxKey key) {
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const uint64_t product0 = uint64_t{kPhiloxMultiplier0} * counter.word[0];
    const uint64_t product1 = uint64_t{kPhiloxMultiplier1} * counter.word[2];
    counter = {{static_cast<uint32_t>(product1 >> 32) ^ counter.word[1] ^ key.word[0],
                static_cast<uint32_t>(product1),
                static_cast<uint32_t>(product0 >> 32) ^ counter.word[3] ^ key.word[1],
                static_cast<uint32_t>(product0)}};
    key = next_philox_key(key);
  }
  return counter;
}

// The numbers of synthetic row i: counter (i low, i high, 0, 0), key = seed.
EXPANSIVE_HOST_DEVICE EXPANSIVE_ALWAYS_INLINE Philox4 philox_of_row(uint64_t i, uint64_t seed) {
  const Philox4 counter{{static_cast<uint32_t>(i), static_cast<uint32_t>(i >> 32), 0u, 0u}};
  return philox4x32(counter, philox_key(seed));
}

}  // namespace expansive
