// A library to preload into a server (LD_PRELOAD): its wall clock is off by as many milliseconds as the file named by
// STEPPED_CLOCK_FILE has, a 64-bit integer, at every reading anew. Its monotonic clock goes on, as that of a host whose
// clock was set does. libfaketime cannot do it here: it allocates while it starts, and jemalloc asks for the time.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <ctime>

namespace {

// Mapped at start: readings of the clock must neither allocate nor open anything.
const std::atomic<std::int64_t>* offset_ms = nullptr;

__attribute__((constructor)) void map_file() {
  const char* path = std::getenv("STEPPED_CLOCK_FILE");
  const int file = path == nullptr ? -1 : open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  void* const mapped = mmap(nullptr, sizeof *offset_ms, PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (mapped != MAP_FAILED) offset_ms = static_cast<const std::atomic<std::int64_t>*>(mapped);
}

void step(timespec& time) {
  if (offset_ms == nullptr) return;
  constexpr std::int64_t kNanos = 1'000'000'000;
  const std::int64_t nanos = time.tv_nsec + offset_ms->load() % 1000 * 1'000'000 + kNanos;  // not below zero
  time.tv_sec += offset_ms->load() / 1000 + nanos / kNanos - 1;
  time.tv_nsec = nanos % kNanos;
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* time) noexcept {
  const int result = static_cast<int>(syscall(SYS_clock_gettime, clock, time));
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) step(*time);
  return result;
}

int gettimeofday(timeval* __restrict time, void* __restrict) noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  *time = {now.tv_sec, now.tv_nsec / 1000};
  return 0;
}

time_t time(time_t* result) noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (result != nullptr) *result = now.tv_sec;
  return now.tv_sec;
}

}  // extern "C"
