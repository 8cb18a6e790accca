// Section `images` of agentd's configuration, with its checks. Thread-safe.
#pragma once

#include "agentd/core/images/catalogue.h"
#include "common/config/config_reader.h"

namespace skep::agentd {

/// `is_there`: the section is in the file. Mistakes become problems of the document.
void read_images(config::ConfigSection section, bool is_there, images::ImagesConfig& out);

}  // namespace skep::agentd
