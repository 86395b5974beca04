# The native build is CMake's (CMakeLists.txt). This file lets node-gyp, node-gyp-build and prebuildify start it.
{
  "targets": [
    {
      "target_name": "pointsman_by_cmake",
      "type": "none",
      "actions": [
        {
          "action_name": "cmake",
          "message": "Building with CMake",
          "inputs": ["CMakeLists.txt"],
          # Never there, so that CMake is asked each time: it knows what is stale.
          "outputs": ["<(PRODUCT_DIR)/always"],
          "action": ["node", "scripts/build-from-source.mjs", "--arch", "<(target_arch)", "--config", "<(CONFIGURATION_NAME)"]
        }
      ]
    }
  ]
}
