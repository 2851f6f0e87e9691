// The CUDA module: addresses and stream handles in, work on the device out. Everything that Python
// passes as an address is the device's; what checks shapes and keeps memory alive is
// backends/cuda.py.
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

#include "bindings/gil.h"
#include "bindings/names.h"
#include "cuda/device.h"
#include "cuda/kernels.h"
#include "cuda/neighbors.h"
#include "cuda/runtime.h"
#include "cuda/synthesis.h"
#include "cuda/tiles.h"

namespace py = pybind11;

namespace expansive::cuda {
namespace {

using Address = uintptr_t;

template <typename T>
T* at(Address address) {
  return reinterpret_cast<T*>(address);
}
cudaStream_t stream_of(Address handle) { return reinterpret_cast<cudaStream_t>(handle); }

Rows rows_at(Address x, int64_t n, int64_t d, const std::string& dtype) {
  return {at<const void>(x), n, d, parse_dtype(dtype)};
}

// Memory of this module's own, for data that comes from the host.
class Memory {
 public:
  Memory(int device, int64_t bytes, Address stream) : device_(device), stream_(stream_of(stream)) {
    const OnDevice here(device_);
    memory_ = allocate(bytes, stream_);
  }
  ~Memory() {
    try {
      const OnDevice here(device_);
      release(memory_, stream_);
    } catch (const std::runtime_error&) {
      // At the end of the process the runtime may be gone, and the memory with it.
    }
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  Address address() const { return reinterpret_cast<Address>(memory_); }

 private:
  int device_;
  cudaStream_t stream_;
  void* memory_ = nullptr;
};

void upload_bytes(int device, Address to, const py::buffer& from, Address stream) {
  const py::buffer_info info = from.request();
  const WithoutGil release;
  const OnDevice here(device);
  upload(at<void>(to), info.ptr, info.size * info.itemsize, stream_of(stream));
}

void download_bytes(int device, const py::buffer& to, Address from, Address stream) {
  const py::buffer_info info = to.request(true);
  const WithoutGil release;
  const OnDevice here(device);
  download(info.ptr, at<const void>(from), info.size * info.itemsize, stream_of(stream));
}

py::tuple scan_rows(int device, Address x, int64_t n, int64_t d, const std::string& dtype,
                    Address scratch, Address stream) {
  ScanResult found{};
  {
    const OnDevice here(device);
    clear_scan(at<ScanResult>(scratch), stream_of(stream));
    scan(rows_at(x, n, d, dtype), at<ScanResult>(scratch), stream_of(stream));
    const WithoutGil release;
    download(&found, at<const void>(scratch), sizeof found, stream_of(stream));
  }
  if (found.first_bad_row != ~0ull) return py::make_tuple(found.first_bad_row, HUGE_VAL);
  double largest;
  std::memcpy(&largest, &found.largest, sizeof largest);
  return py::make_tuple(-1, largest);
}

unsigned long long fingerprint_rows(int device, Address x, int64_t n, int64_t d,
                                    const std::string& dtype, Address scratch, Address stream) {
  const WithoutGil release;
  const OnDevice here(device);
  unsigned long long sum = 0;
  fingerprint(rows_at(x, n, d, dtype), at<unsigned long long>(scratch), stream_of(stream));
  download(&sum, at<const void>(scratch), sizeof sum, stream_of(stream));
  return sum;
}

// A database, and the device it lies on.
class DeviceDatabase {
 public:
  DeviceDatabase(int device, Address x, int64_t n, int64_t d, const std::string& dtype,
                 double largest, Address order, const std::string& metric, Address memory,
                 Address stream)
      : device_(device), chip_(chip_of(device)) {
    const OnDevice here(device_);
    database_ =
        std::make_unique<Database>(rows_at(x, n, d, dtype), largest, at<const uint32_t>(order),
                                   parse_metric(metric), at<void>(memory), stream_of(stream));
  }

  void search(Address queries, int64_t n, int64_t d, const std::string& dtype, Address order,
              Address class_begin, Address class_end, Address own_rows, int64_t k,
              const std::string& relation, bool squared, int64_t budget, Address workspace,
              Address distance, Address index, bool wide, Address stream) const {
    const Database::Points points{rows_at(queries, n, d, dtype), at<const uint32_t>(order),
                                  at<const uint32_t>(class_begin), at<const uint32_t>(class_end),
                                  at<const int64_t>(own_rows)};
    const OnDevice here(device_);
    database_->search(points, k, parse_relation(relation), squared, budget, at<void>(workspace),
                      chip_, {at<void>(distance), at<int64_t>(index), wide}, stream_of(stream));
  }

 private:
  int device_;
  Chip chip_;
  std::unique_ptr<Database> database_;
};

// The drawing tables on the device; addresses in the order of `Partners`.
class DeviceTables {
 public:
  DeviceTables(int device, Address sample_start, Address base_start, int64_t n_classes,
               Address bases, Address partner_start, Address partners, uint64_t seed, double low,
               double high)
      : device_(device),
        tables_{at<const int64_t>(sample_start),
                at<const int64_t>(base_start),
                n_classes,
                at<const int64_t>(bases),
                at<const int64_t>(partner_start),
                at<const int64_t>(partners),
                seed,
                low,
                high} {}

  void synthesize_rows(Address x, int64_t n, int64_t d, const std::string& dtype, Address rows,
                       int64_t first, Address out, int64_t count, const std::string& out_dtype,
                       Address labels, Address stream) const {
    const OnDevice here(device_);
    synthesize(rows_at(x, n, d, dtype), tables_, {at<const int64_t>(rows), first},
               {at<void>(out), count, d, parse_dtype(out_dtype)}, at<int64_t>(labels),
               stream_of(stream));
  }

  void draw(Address rows, int64_t first, int64_t count, Address base, Address partner,
            Address weight, bool wide, Address stream) const {
    const OnDevice here(device_);
    draw_rows(tables_, {at<const int64_t>(rows), first}, count, at<int64_t>(base),
              at<int64_t>(partner), at<void>(weight), wide, stream_of(stream));
  }

 private:
  int device_;
  Partners tables_;
};

py::dict describe_tiles(int64_t n, int64_t q, int64_t d, int64_t k, int64_t multiprocessors,
                        int64_t budget) {
  const int64_t at_a_time = queries_at_a_time(n, q, d, budget);
  const int64_t query_blocks = divide_up(std::min(q, at_a_time), kBlockQueries);
  py::dict sizes;
  sizes["block_queries"] = kBlockQueries;
  sizes["block_rows"] = kBlockRows;
  sizes["wide_block_rows"] = kWideBlockRows;
  sizes["wide_stages"] = wide_stages(padded_features(d) / kImageFeatures);
  sizes["features_a_step"] = kStep;
  sizes["padded_features"] = padded_features(d);
  sizes["tile_rows"] = tile_rows(d);
  sizes["tiles"] = divide_up(n, tile_rows(d));
  sizes["strip_blocks"] = strip_blocks(query_blocks, divide_up(n, kBlockRows), multiprocessors);
  sizes["queries_at_a_time"] = at_a_time;
  sizes["candidate_slots"] = candidate_slots(std::min(k, n));
  sizes["candidates_in_shared_memory"] = fits_shared_memory(std::min(k, n));
  return sizes;
}

void bind_memory(py::module_& module) {
  module.def("find_problem", &find_problem);
  module.def("check_device", &check_device, py::arg("device"));
  module.def("describe_device", &describe_device, py::arg("device"));
  module.def("total_memory", &total_memory, py::arg("device"));
  py::class_<Memory>(module, "Memory")
      .def(py::init<int, int64_t, Address>(), py::arg("device"), py::arg("bytes"),
           py::arg("stream"))
      .def_property_readonly("address", &Memory::address);
  module.def("upload", &upload_bytes, py::arg("device"), py::arg("to"), py::arg("from_"),
             py::arg("stream"));
  module.def("download", &download_bytes, py::arg("device"), py::arg("to"), py::arg("from_"),
             py::arg("stream"));
  module.attr("SCRATCH_BYTES") = sizeof(ScanResult);
  module.def("scan", &scan_rows, py::arg("device"), py::arg("x"), py::arg("n"), py::arg("d"),
             py::arg("dtype"), py::arg("scratch"), py::arg("stream"));
  module.def("fingerprint", &fingerprint_rows, py::arg("device"), py::arg("x"), py::arg("n"),
             py::arg("d"), py::arg("dtype"), py::arg("scratch"), py::arg("stream"));
}

void bind_search(py::module_& module) {
  module.def(
      "database_bytes",
      [](int64_t n, int64_t d, const std::string& metric) {
        return database_bytes(n, d, parse_metric(metric));
      },
      py::arg("n"), py::arg("d"), py::arg("metric"));
  module.def("workspace_bytes", &workspace_bytes, py::arg("n"), py::arg("q"), py::arg("d"),
             py::arg("k"), py::arg("budget"));
  module.def("describe_tiles", &describe_tiles, py::arg("n"), py::arg("q"), py::arg("d"),
             py::arg("k"), py::arg("multiprocessors") = 132, py::arg("budget") = int64_t{1} << 30);
  py::class_<DeviceDatabase>(module, "Database")
      .def(py::init<int, Address, int64_t, int64_t, const std::string&, double, Address,
                    const std::string&, Address, Address>(),
           py::arg("device"), py::arg("x"), py::arg("n"), py::arg("d"), py::arg("dtype"),
           py::arg("largest"), py::arg("order"), py::arg("metric"), py::arg("memory"),
           py::arg("stream"))
      .def("search", &DeviceDatabase::search, py::kw_only(), py::arg("queries"), py::arg("n"),
           py::arg("d"), py::arg("dtype"), py::arg("order"), py::arg("class_begin"),
           py::arg("class_end"), py::arg("own_rows"), py::arg("k"), py::arg("relation"),
           py::arg("squared"), py::arg("budget"), py::arg("workspace"), py::arg("distance"),
           py::arg("index"), py::arg("wide"), py::arg("stream"));
}

void bind_synthesis(py::module_& module) {
  py::class_<DeviceTables>(module, "PartnerTables")
      .def(py::init<int, Address, Address, int64_t, Address, Address, Address, uint64_t, double,
                    double>(),
           py::arg("device"), py::arg("sample_start"), py::arg("base_start"), py::arg("n_classes"),
           py::arg("bases"), py::arg("partner_start"), py::arg("partners"), py::arg("seed"),
           py::arg("low"), py::arg("high"))
      .def("synthesize", &DeviceTables::synthesize_rows, py::kw_only(), py::arg("x"), py::arg("n"),
           py::arg("d"), py::arg("dtype"), py::arg("rows"), py::arg("first"), py::arg("out"),
           py::arg("count"), py::arg("out_dtype"), py::arg("labels"), py::arg("stream"))
      .def("draw", &DeviceTables::draw, py::kw_only(), py::arg("rows"), py::arg("first"),
           py::arg("count"), py::arg("base"), py::arg("partner"), py::arg("weight"),
           py::arg("wide"), py::arg("stream"));
}

}  // namespace
}  // namespace expansive::cuda

PYBIND11_MODULE(_cuda, module) {
  module.doc() = "CUDA kernels of expansive; loads without a driver.";
  expansive::cuda::bind_memory(module);
  expansive::cuda::bind_search(module);
  expansive::cuda::bind_synthesis(module);
}
