// SPDX-FileCopyrightText: attention_fusion_ros contributors
// SPDX-License-Identifier: Apache-2.0
//
// Points of 20 bytes -> a Draco file as draco_point_cloud_transport makes it: every field an attribute of its own.
//
//     python make.py points.bin
//     g++ -std=c++17 -I$DRACO/include make.cpp $DRACO/lib64/libdraco.a -o make
//     ./make points.bin sequential.drc 2 0 0 && ./make points.bin sequential_16_bit.drc 2 16 0
//     ./make points.bin kd_tree_16_bit.drc 1 16 0
//
// DRACO: Google's library, 1.5.7 (the wheel of DracoPy brings it). Numbers: encoding (1 kd-tree, 2 sequential), bits of
// quantisation (0: none), deduplication.
#include <draco/compression/encode.h>
#include <draco/point_cloud/point_cloud_builder.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  using Kind = draco::GeometryAttribute;
  struct Field { Kind::Type kind; draco::DataType type; int offset; };
  const std::vector<Field> fields = {
      {Kind::POSITION, draco::DT_FLOAT32, 0}, {Kind::POSITION, draco::DT_FLOAT32, 4}, {Kind::POSITION, draco::DT_FLOAT32, 8},
      {Kind::GENERIC, draco::DT_UINT8, 12}, {Kind::GENERIC, draco::DT_UINT16, 14}, {Kind::GENERIC, draco::DT_UINT32, 16}};
  const int step = 20;
  std::ifstream input(argv[1], std::ios::binary);
  std::vector<char> data((std::istreambuf_iterator<char>(input)), {});
  const int method = std::atoi(argv[3]), bits = std::atoi(argv[4]), deduplicate = std::atoi(argv[5]);

  draco::PointCloudBuilder builder;
  builder.Start(data.size() / step);
  for (const Field& field : fields)
    builder.SetAttributeValuesForAllPoints(builder.AddAttribute(field.kind, 1, field.type), data.data() + field.offset, step);
  auto cloud = builder.Finalize(deduplicate != 0);
  auto metadata = std::make_unique<draco::GeometryMetadata>();
  metadata->AddEntryInt("deduplicate", deduplicate);
  cloud->AddMetadata(std::move(metadata));

  draco::Encoder encoder;
  encoder.SetSpeedOptions(7, 7);
  if (bits) {
    encoder.SetAttributeQuantization(Kind::POSITION, bits);
    encoder.SetAttributeQuantization(Kind::GENERIC, bits);
  }
  encoder.SetEncodingMethod(method == 1 ? draco::POINT_CLOUD_KD_TREE_ENCODING : draco::POINT_CLOUD_SEQUENTIAL_ENCODING);
  draco::EncoderBuffer buffer;
  const draco::Status status = encoder.EncodePointCloudToBuffer(*cloud, &buffer);
  if (!status.ok()) {
    std::cerr << status.error_msg() << "\n";
    return 1;
  }
  std::ofstream(argv[2], std::ios::binary).write(buffer.data(), buffer.size());
}
