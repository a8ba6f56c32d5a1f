# cmake -DOUT=page_files.c -DHEADER=... -P embed.cmake FILE...: files as C arrays {name}_bytes, {name}_len.
set(text "#include \"${HEADER}\"\n")
foreach(file ${FILES})
  get_filename_component(name "${file}" NAME)
  string(REPLACE "." "_" name "${name}")
  file(READ "${file}" hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," hex "${hex}")
  string(APPEND text "const char ${name}_bytes[] = {${hex}0};\n"
                     "const size_t ${name}_len = sizeof(${name}_bytes) - 1;\n")
endforeach()
file(WRITE "${OUT}" "${text}")
