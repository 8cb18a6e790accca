// The tiny guest for tests of the QEMU driver, and a folder for machines: made at the first use by
// tiny_image.py, which takes both away with whatever runs from there, also when the test program is killed.
#pragma once

#include <string>

#include "drivers/qemu/vm_image.h"

namespace skep::test {

struct TinyImage {
  drivers::qemu::VmImage image;
  std::string folder;  // for machines: what carries it in its environment or command line is ended at the end
  std::string skipped;  // why none can be had here; empty: it is there
};

const TinyImage& tiny_image();

}  // namespace skep::test
