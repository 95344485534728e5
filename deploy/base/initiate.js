// Makes the replica set of MEMBERS pods, unless there is one. Ends with 1 when it could not, and is tried again.
const members = [...Array(Number(process.env.MEMBERS)).keys()].map((number) => ({
  _id: number,
  host: `mongodb-${number}.mongodb:27017`,
}));
try {
  rs.status();
  print("there is a set already");
} catch (error) {
  if (error.codeName !== "NotYetInitialized") throw error;
  rs.initiate({ _id: "sluice", members });
  print(`made a set of ${members.length}`);
}
