//! ISO 4217 alphabetic codes: list one (in use) and list three (historic).

/// Sorted, for the binary search.
const CODES: &str = "ADP AED AFA AFN ALK ALL AMD ANG AOA AOK AON AOR ARA ARP ARS ARY ATS AUD AWG AYM AZM AZN BAD BAM BBD BDT BEC BEF BEL BGJ BGK BGL BGN BHD BIF BMD BND BOB BOP BOV BRB BRC BRE BRL BRN BRR BSD BTN BUK BWP BYB BYN BYR BZD CAD CDF CHC CHE CHF CHW CLF CLP CNY COP COU CRC CSD CSJ CSK CUC CUP CVE CYP CZK DDM DEM DJF DKK DOP DZD ECS ECV EEK EGP ERN ESA ESB ESP ETB EUR FIM FJD FKP FRF GBP GEK GEL GHC GHP GHS GIP GMD GNE GNF GNS GQE GRD GTQ GWE GWP GYD HKD HNL HRD HRK HTG HUF IDR IEP ILP ILR ILS INR IQD IRR ISJ ISK ITL JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAJ LAK LBP LKR LRD LSL LSM LTL LTT LUC LUF LUL LVL LVR LYD MAD MDL MGA MGF MKD MLF MMK MNT MOP MRO MRU MTL MTP MUR MVQ MVR MWK MXN MXP MXV MYR MZE MZM MZN NAD NGN NIC NIO NLG NOK NPR NZD OMR PAB PEH PEI PEN PES PGK PHP PKR PLN PLZ PTE PYG QAR RHD ROK ROL RON RSD RUB RUR RWF SAR SBD SCR SDD SDG SDP SEK SGD SHP SIT SKK SLE SLL SOS SRD SRG SSP STD STN SUR SVC SYP SZL THB TJR TJS TMM TMT TND TOP TPE TRL TRY TTD TWD TZS UAH UAK UGS UGW UGX USD USN USS UYI UYN UYP UYU UYW UZS VEB VED VEF VES VNC VND VUV WST XAF XCD XCG XEU XOF XPF YDD YER YUD YUM YUN ZAL ZAR ZMK ZMW ZRN ZRZ ZWC ZWD ZWG ZWL ZWN ZWR";

/// `text` as a code, if it is one.
pub(crate) fn code(text: &str) -> Option<[u8; 3]> {
    let wanted: [u8; 3] = text.as_bytes().try_into().ok()?;
    let codes = CODES.as_bytes();
    let (mut low, mut high) = (0, codes.len().div_ceil(4));
    while low < high {
        let middle = usize::midpoint(low, high);
        let found = &codes[middle * 4..middle * 4 + 3];
        match found.cmp(&wanted[..]) {
            std::cmp::Ordering::Equal => return Some(wanted),
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_every_code_is_found() {
        let all: Vec<_> = CODES.split(' ').collect();
        assert!(all.is_sorted());
        for known in all {
            assert!(code(known).is_some(), "{known}");
        }
        for unknown in ["AAA", "ZZZ", "usd", "US", "USDX", ""] {
            assert!(code(unknown).is_none(), "{unknown}");
        }
    }
}
