// What translated kernels stand on: arrays, small functions, and sums over the threads of a team.
//
// A block has blockDim.z genes, each with a team of blockDim.y x blockDim.x threads: y over kinds, x over
// samples, both powers of two. Up to 32 threads a team is a part of a warp and adds by shuffles, in the
// same order in every run; a larger one is a block (blockDim.z = 1), and either all its threads are in x, or
// x is at most a warp. XDELNX_HOST: the same for the processor, one thread a team, or with XDELNX_THREADS a team of
// threads of the operating system.
typedef long long i64;

#ifndef XDELNX_HOST
#define KERNEL __global__
#define DEVICE __device__ inline
#define DEVICE_MEMBER __device__
#ifndef INFINITY
#define INFINITY (__longlong_as_double(0x7ff0000000000000LL))
#endif
DEVICE i64 bits_of(double x) { return __double_as_longlong(x); }
DEVICE double of_bits(i64 x) { return __longlong_as_double(x); }

DEVICE unsigned place_in_block() { return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z); }

DEVICE unsigned mask_of(unsigned size) {  // of the part of a warp, of that size, in which this thread is
  return size >= 32u ? 0xffffffffu : ((1u << size) - 1u) << (place_in_block() % 32u / size * size);
}

DEVICE double shuffled_sum(double x, unsigned size, unsigned from) {
  const unsigned mask = mask_of(size);
  for (unsigned step = size / 2u; step >= from; step /= 2u) x += __shfl_xor_sync(mask, x, step);
  return x;
}

DEVICE double sum_samples(double x) {
  const unsigned size = blockDim.x;
  if (size == 1u) return x;
  if (size <= 32u) return shuffled_sum(x, size, 1u);
  __shared__ double warps[32];
  x = shuffled_sum(x, 32u, 1u);
  if (threadIdx.x % 32u == 0u) warps[threadIdx.x / 32u] = x;
  __syncthreads();
  double total = 0.0;
  for (unsigned warp = 0u; warp < size / 32u; ++warp) total += warps[warp];
  __syncthreads();
  return total;
}

DEVICE double sum_kinds(double x) {
  const unsigned size = blockDim.x * blockDim.y;
  if (blockDim.y == 1u) return x;
  if (size <= 32u) return shuffled_sum(x, size, blockDim.x);
  __shared__ double rows[1024];
  if (threadIdx.x == 0u) rows[threadIdx.y] = x;
  __syncthreads();
  double total = 0.0;
  for (unsigned row = 0u; row < blockDim.y; ++row) total += rows[row];
  __syncthreads();
  return total;
}
#else
#include <cmath>
#include <cstring>
#define KERNEL
#define DEVICE static inline
#define DEVICE_MEMBER
DEVICE i64 bits_of(double x) { i64 bits; std::memcpy(&bits, &x, 8); return bits; }
DEVICE double of_bits(i64 bits) { double x; std::memcpy(&x, &bits, 8); return x; }
using std::exp; using std::fabs; using std::floor; using std::isfinite; using std::log; using std::sqrt;
struct Place { i64 x, y, z; };
static const Place blockIdx{0, 0, 0}, gridDim{1, 1, 1};
#ifndef XDELNX_THREADS
static const Place threadIdx{0, 0, 0}, blockDim{1, 1, 1};
DEVICE double sum_samples(double x) { return x; }
DEVICE double sum_kinds(double x) { return x; }
#else
#include <barrier>
#include <memory>
#include <thread>
#include <vector>
static thread_local Place threadIdx{0, 0, 0};
static Place blockDim{1, 1, 1};
static double given[64][64];
static std::vector<std::unique_ptr<std::barrier<>>> rows_meet;
static std::unique_ptr<std::barrier<>> all_meet;
DEVICE double sum_samples(double x) {  // as shuffles do, a row of threads waits for its own alone
  given[threadIdx.y][threadIdx.x] = x;
  rows_meet[threadIdx.y]->arrive_and_wait();
  double total = 0.0;
  for (i64 i = 0; i < blockDim.x; ++i) total += given[threadIdx.y][i];
  rows_meet[threadIdx.y]->arrive_and_wait();
  return total;
}
DEVICE double sum_kinds(double x) {
  all_meet->arrive_and_wait();
  given[threadIdx.y][threadIdx.x] = x;
  all_meet->arrive_and_wait();
  double total = 0.0;
  for (i64 j = 0; j < blockDim.y; ++j) total += given[j][threadIdx.x];
  all_meet->arrive_and_wait();
  return total;
}
template <class Kernel> void in_a_team(i64 x, i64 y, Kernel kernel) {
  blockDim = {x, y, 1};
  rows_meet.clear();
  for (i64 j = 0; j < y; ++j) rows_meet.push_back(std::make_unique<std::barrier<>>(x));
  all_meet = std::make_unique<std::barrier<>>(x * y);
  std::vector<std::thread> threads;
  for (i64 j = 0; j < y; ++j)
    for (i64 i = 0; i < x; ++i) threads.emplace_back([=] { threadIdx = {i, j, 0}; kernel(); });
  for (auto& thread : threads) thread.join();
}
#endif
#endif

DEVICE i64 first_gene() { return (i64)blockIdx.x * blockDim.z + threadIdx.z; }
DEVICE i64 genes_at_once() { return (i64)gridDim.x * blockDim.z; }
DEVICE i64 this_thread() { return (i64)blockIdx.x * blockDim.x + threadIdx.x; }
DEVICE i64 all_threads() { return (i64)gridDim.x * blockDim.x; }

template <class T> struct Array1 {
  T* at;
  i64 shape[1];
  DEVICE_MEMBER T& operator[](i64 i) const { return at[i]; }
  DEVICE_MEMBER i64 size() const { return shape[0]; }
};

template <class T> struct Array2 {
  T* at;
  i64 shape[2];
  DEVICE_MEMBER T& operator()(i64 i, i64 j) const { return at[i * shape[1] + j]; }
  DEVICE_MEMBER Array1<T> operator[](i64 i) const { return Array1<T>{at + i * shape[1], {shape[1]}}; }
  DEVICE_MEMBER i64 size() const { return shape[0] * shape[1]; }
};

template <int n> struct Doubles {
  double of[n];
  DEVICE_MEMBER double operator[](i64 i) const { return of[i]; }
};

template <class... T> DEVICE Doubles<(int)sizeof...(T)> doubles(T... values) { return {{(double)values...}}; }
template <class A, class B> DEVICE auto larger(A a, B b) { return b > a ? b : a; }
template <class A, class B> DEVICE auto smaller(A a, B b) { return b < a ? b : a; }
DEVICE double square(double x) { return x * x; }
