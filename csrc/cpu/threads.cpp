#include "cpu/threads.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

#include "cpu/floating_point.h"

namespace expansive {
namespace {

// One parallel_for: workers take task numbers until none is left or one has failed.
class Job {
 public:
  Job(int64_t n_tasks, int threads, Interrupt& interrupt,
      const std::function<void(int64_t, int)>& body)
      : n_tasks_(n_tasks), seats_(threads), interrupt_(interrupt), body_(body) {}

  // A pool thread asks for a worker number; none is given once the job is full or over.
  int take_seat() {
    const std::lock_guard lock(mutex_);
    if (next_worker_ >= seats_ || closed_) return -1;
    ++active_;
    return next_worker_++;
  }

  void work(int worker) {
    const DefaultFloatingPoint environment;
    try {
      while (!failed_.load(std::memory_order_relaxed)) {
        const int64_t task = next_task_.fetch_add(1);
        if (task >= n_tasks_) return;
        interrupt_.check(worker);
        body_(task, worker);
      }
    } catch (...) {
      fail(std::current_exception());
    }
  }

  void leave() {
    const std::lock_guard lock(mutex_);
    --active_;
    idle_.notify_all();
  }

  // The caller waits for the workers that took a seat, still answering interrupts.
  void finish() {
    std::unique_lock lock(mutex_);
    closed_ = true;
    while (active_ > 0) {
      idle_.wait_for(lock, std::chrono::milliseconds(50));
      if (active_ == 0) break;
      lock.unlock();
      try {
        interrupt_.check(0);
      } catch (...) {
        fail(std::current_exception());
      }
      lock.lock();
    }
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void fail(std::exception_ptr error) {
    failed_.store(true, std::memory_order_relaxed);
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = std::move(error);
  }

  const int64_t n_tasks_;
  const int seats_;
  Interrupt& interrupt_;
  const std::function<void(int64_t, int)>& body_;
  std::atomic<int64_t> next_task_{0};
  std::atomic<bool> failed_{false};
  std::mutex mutex_;
  std::condition_variable idle_;
  int next_worker_ = 1;  // worker 0 is the caller
  int active_ = 0;
  bool closed_ = false;
  std::exception_ptr error_;
};

class Pool {
 public:
  // The pool of this process. A forked child has none of its parent's threads and perhaps a locked
  // mutex, so it leaves the parent's pool alone and starts its own.
  static Pool& instance() {
    static std::atomic<Pool*> current{nullptr};
    Pool* pool = current.load();
    while (pool == nullptr || pool->process_ != getpid()) {
      Pool* fresh = new Pool();
      if (current.compare_exchange_strong(pool, fresh)) return *fresh;
      delete fresh;
    }
    return *pool;
  }

  void help(const std::shared_ptr<Job>& job, int helpers) {
    const std::lock_guard lock(mutex_);
    try {
      for (int i = 0; i < helpers; ++i) jobs_.push_back(job);
      const int missing = static_cast<int>(jobs_.size()) - idle_;
      for (int i = 0; i < missing; ++i) {
        std::thread([this] { serve(); }).detach();
        ++idle_;
      }
    } catch (const std::exception&) {
      // The system has no thread or memory left to give: the caller and those there are do the
      // work.
    }
    wake_.notify_all();
  }

 private:
  Pool() : process_(getpid()) {}

  void serve() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [this] { return !jobs_.empty(); });
      const std::shared_ptr<Job> job = std::move(jobs_.front());
      jobs_.pop_front();
      --idle_;
      lock.unlock();
      const int worker = job->take_seat();
      if (worker > 0) {
        job->work(worker);
        job->leave();
      }
      lock.lock();
      ++idle_;
    }
  }

  const pid_t process_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Job>> jobs_;
  int idle_ = 0;
};

}  // namespace

void parallel_for(int64_t n_tasks, int threads, Interrupt& interrupt,
                  const std::function<void(int64_t, int)>& body) {
  const int workers = static_cast<int>(std::min<int64_t>(std::max(threads, 1), n_tasks));
  if (workers < 1) return;
  const auto job = std::make_shared<Job>(n_tasks, workers, interrupt, body);
  if (workers > 1) Pool::instance().help(job, workers - 1);
  job->work(0);
  job->finish();
}

}  // namespace expansive
